"""scikit-learn: an estimator with `partial_fit`, linear or a multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from umbel.client.adapters.common import Adapter, ExamplesOf, Loader, as_metrics, build, epochs, refuse_proximal
from umbel.client.api import Client, Update
from umbel.client.context import Context

LINEAR = ("coef_", "intercept_")
LAYERS = ("coefs_", "intercepts_")


def federate(
    model: Any,
    train: Callable[[Any, Any], Any],
    evaluate: Callable[[Any, Any], Mapping[str, float]],
    examples: ExamplesOf,
    *,
    features: int,
    classes: Sequence[Any] | None,
    dtype: Any = np.float64,
) -> Client:
    """A client from a training script.

    ``model``: an unfitted estimator or a factory of one. ``features``, ``classes`` (None for a regressor) and ``dtype``
    of the inputs fix the model's shape before any data is seen; a silo may lack a class. ``train(model, batches)``
    calls `partial_fit` for each batch of one epoch and may return its loss or metrics; it is called ``config.epochs``
    times a round (default 1) with batches that end at WrapUp. ``evaluate(model, batches)`` returns metrics.
    ``examples(ctx)`` returns (train_batches, test_batches). Each round starts with a fresh optimiser.
    """
    return SklearnClient(model, train, evaluate, examples, features, classes, dtype)


class SklearnClient(Adapter):
    def __init__(
        self,
        model: Any,
        train: Callable[[Any, Any], Any],
        evaluate: Callable[[Any, Any], Mapping[str, float]],
        examples: ExamplesOf,
        features: int,
        classes: Sequence[Any] | None,
        dtype: Any,
    ) -> None:
        super().__init__(examples)
        self._source = model
        self._train = train
        self._evaluate = evaluate
        self._features = features
        self._dtype = dtype
        self._classes = None if classes is None else np.asarray(classes)

    def initial(self, ctx: Context) -> dict[str, Any]:
        arrays = _arrays(self._allocated(ctx))
        # A linear model starts at zero. Layers keep what the estimator drew: from zero they would never part.
        return {name: np.zeros_like(array) if name in LINEAR else array.copy() for name, array in arrays.items()}

    def fit(self, parameters: dict[str, Any], ctx: Context) -> Update:
        refuse_proximal(ctx)
        model = self._loaded(parameters, ctx)
        metrics: dict[str, float] = {}
        for epoch in ctx.epochs(self._examples.train(ctx), epochs(ctx)):
            metrics = as_metrics(self._train(model, epoch))
        return Update(_arrays(model), metrics)

    def _measure(self, parameters: Mapping[str, Any], batches: Loader, ctx: Context) -> Mapping[str, float]:
        return self._evaluate(self._loaded(parameters, ctx), batches)

    def _allocated(self, ctx: Context) -> Any:
        """A fresh estimator whose arrays exist: they do only after a first `partial_fit`."""
        model = clone(self._source) if hasattr(self._source, "get_params") else build(self._source, ctx)
        if self._classes is None:
            model.partial_fit(np.zeros((1, self._features), self._dtype), np.zeros(1))
        else:
            inputs = np.zeros((len(self._classes), self._features), self._dtype)
            model.partial_fit(inputs, self._classes, classes=self._classes)
        vars(model).pop("_optimizer", None)  # of a perceptron: it has seen the zeros
        return model

    def _loaded(self, parameters: Mapping[str, Any], ctx: Context) -> Any:
        model = self._allocated(ctx)
        for name, array in _arrays(model).items():
            array[...] = parameters[name]
        return model


def _arrays(model: Any) -> dict[str, Any]:
    """The estimator's own arrays by name: ``coef_``, ``intercept_``, or ``coefs_.0``, ``intercepts_.0`` …"""
    found = {name: getattr(model, name) for name in LINEAR if hasattr(model, name)}
    for name in LAYERS:
        found |= {f"{name}.{i}": array for i, array in enumerate(getattr(model, name, ()))}
    if not found:
        raise TypeError(f"{type(model).__name__} has none of {', '.join(LINEAR + LAYERS)}; write an umbel.Client")
    return found
