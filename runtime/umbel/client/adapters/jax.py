"""JAX: parameters as a pytree, and functions that take one and return one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from umbel.client.adapters.common import Adapter, ExamplesOf, Loader, as_metrics, epochs, refuse_proximal
from umbel.client.api import Client, Update
from umbel.client.context import Context


def federate(
    initial: Callable[[Any], Any],
    train: Callable[[Any, Any], Any],
    evaluate: Callable[[Any, Any], Mapping[str, float]],
    examples: ExamplesOf,
) -> Client:
    """A client from a training script.

    ``initial(key)`` makes the parameters, any pytree of arrays, from a random key. ``train(parameters, batches)``
    trains for one epoch and returns the new parameters, or (parameters, loss or metrics); it is called
    ``config.epochs`` times a round (default 1) with batches that end at WrapUp. ``evaluate(parameters, batches)``
    returns metrics. ``examples(ctx)`` returns (train_batches, test_batches). Tensors are named by their path in the
    tree: ``dense.0.w``.
    """
    return JaxClient(initial, train, evaluate, examples)


class JaxClient(Adapter):
    def __init__(
        self,
        initial: Callable[[Any], Any],
        train: Callable[[Any, Any], Any],
        evaluate: Callable[[Any, Any], Mapping[str, float]],
        examples: ExamplesOf,
    ) -> None:
        super().__init__(examples)
        self._initial = initial
        self._train = train
        self._evaluate = evaluate

    def initial(self, ctx: Context) -> dict[str, Any]:
        return _by_name(self._initial(jax.random.key(ctx.seed)))

    def fit(self, parameters: dict[str, Any], ctx: Context) -> Update:
        refuse_proximal(ctx)
        tree, structure = self._tree(parameters)
        metrics: dict[str, float] = {}
        for epoch in ctx.epochs(self._examples.train(ctx), epochs(ctx)):
            returned = self._train(tree, epoch)
            if jax.tree_util.tree_structure(returned) != structure:
                returned, measured = returned
                metrics = as_metrics(measured)
            tree = returned
        return Update(_by_name(tree), metrics)

    def _measure(self, parameters: Mapping[str, Any], batches: Loader, ctx: Context) -> Mapping[str, float]:
        return self._evaluate(self._tree(parameters)[0], batches)

    def _tree(self, parameters: Mapping[str, Any]) -> tuple[Any, Any]:
        """(parameters as the user's tree, its structure). The copy is needed: JAX may alias an array of numpy, whose
        memory holds another model in the next call."""
        shapes = jax.eval_shape(self._initial, jax.random.key(0))
        paths, structure = jax.tree_util.tree_flatten_with_path(shapes)
        leaves = [jax.numpy.array(parameters[_name(path)], copy=True) for path, _ in paths]
        return jax.tree_util.tree_unflatten(structure, leaves), structure


def _by_name(tree: Any) -> dict[str, Any]:
    return {_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: tuple[Any, ...]) -> str:
    """Keys of dicts, indices of sequences and names of attributes, joined by dots."""
    return ".".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path) or "parameters"
