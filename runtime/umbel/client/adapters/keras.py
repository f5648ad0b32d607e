"""Keras 3, on whichever backend it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from umbel.client.adapters.common import Adapter, ExamplesOf, Loader, as_metrics, build, epochs, refuse_proximal
from umbel.client.api import Buffer, Client, Update
from umbel.client.context import Context


def federate(
    model: Callable[..., Any],
    train: Callable[[Any, Any], Any],
    evaluate: Callable[[Any, Any], Mapping[str, float]],
    examples: ExamplesOf,
) -> Client:
    """A client from a training script.

    ``model``: a factory of a built and compiled model (called with the context if it takes one argument).
    ``train(model, batches)`` trains for one epoch, for example by `train_on_batch`, and may return its loss or metrics;
    it is called ``config.epochs`` times a round (default 1) with batches that end at WrapUp. ``evaluate(model,
    batches)`` returns metrics. ``examples(ctx)`` returns (train_batches, test_batches). Each round starts with the
    optimiser as it was compiled. Weights are named by layer: ``dense.kernel``.
    """
    return KerasClient(model, train, evaluate, examples)


class KerasClient(Adapter):
    def __init__(
        self,
        model: Callable[..., Any],
        train: Callable[[Any, Any], Any],
        evaluate: Callable[[Any, Any], Mapping[str, float]],
        examples: ExamplesOf,
    ) -> None:
        super().__init__(examples)
        self._factory = model
        self._train = train
        self._evaluate = evaluate
        self._built: tuple[Any, list[Any]] | None = None

    def initial(self, ctx: Context) -> dict[str, Any]:
        model, _ = self._model(ctx)
        trained = {id(v) for v in model.trainable_weights}
        arrays = {name: (_value(v), id(v) in trained) for name, v in _weights(model).items()}
        return {name: array if is_trained else Buffer(array) for name, (array, is_trained) in arrays.items()}

    def fit(self, parameters: dict[str, Any], ctx: Context) -> Update:
        refuse_proximal(ctx)
        model = self._loaded(parameters, ctx)
        self._reset(ctx)
        metrics: dict[str, float] = {}
        for epoch in ctx.epochs(self._examples.train(ctx), epochs(ctx)):
            metrics = as_metrics(self._train(model, epoch))
        return Update({name: _value(v) for name, v in _weights(model).items()}, metrics)

    def _measure(self, parameters: Mapping[str, Any], batches: Loader, ctx: Context) -> Mapping[str, float]:
        return self._evaluate(self._loaded(parameters, ctx), batches)

    def _model(self, ctx: Context) -> tuple[Any, list[Any]]:
        """(the process' one model, its optimiser's first state). One: Keras numbers the layers of a second anew."""
        if self._built is None:
            model = build(self._factory, ctx)
            if not model.built:
                raise ValueError("the Keras model has no weights yet; give it a keras.Input or call build()")
            optimizer = getattr(model, "optimizer", None)
            if optimizer is not None:
                optimizer.build(model.trainable_variables)
            self._built = model, [_value(v) for v in getattr(optimizer, "variables", ())]
        return self._built

    def _reset(self, ctx: Context) -> None:
        """The optimiser as compiled, and the layers' own generators seeded by the round: a round then depends on
        nothing that a restart loses."""
        model, first = self._model(ctx)
        for variable, value in zip(getattr(model.optimizer, "variables", ()), first, strict=True):
            variable.assign(value)
        for variable in model.variables:
            if variable.path.endswith("seed_generator_state"):
                variable.assign(ctx.generator.integers(2**32, size=variable.shape, dtype=np.uint32))

    def _loaded(self, parameters: Mapping[str, Any], ctx: Context) -> Any:
        model, _ = self._model(ctx)
        for name, variable in _weights(model).items():
            variable.assign(parameters[name])
        return model


def _value(variable: Any) -> Any:
    """A copy: on some backends the array would be the variable's own memory."""
    return np.array(keras.ops.convert_to_numpy(variable))


def _weights(model: Any) -> dict[str, Any]:
    """Variables by layer and name, without the model's own name, which Keras numbers."""
    named = [(v.path.removeprefix(f"{model.name}/").replace("/", "."), v) for v in model.weights]
    return {name if i == [n for n, _ in named].index(name) else f"{name}.{i}": v for i, (name, v) in enumerate(named)}
