"""What the adapters share: a silo's examples, loaded once and counted, and the loop over epochs."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any

from umbel.client.api import Client, Evaluation, Unsupported
from umbel.client.context import Context

Loader = Iterable[Any]
ExamplesOf = Callable[[Context], tuple[Loader, Loader]]


class Examples:
    """What the user's ``examples(ctx)`` returns, (train_batches, test_batches), kept for the life of the process."""

    def __init__(self, examples: ExamplesOf) -> None:
        self._examples = examples
        self._loaded: tuple[Loader, Loader] | None = None

    def train(self, ctx: Context) -> Loader:
        return self._both(ctx)[0]

    def test(self, ctx: Context) -> Loader:
        return self._both(ctx)[1]

    def _both(self, ctx: Context) -> tuple[Loader, Loader]:
        if self._loaded is None:
            train, test = self._examples(ctx)
            if iter(train) is train or iter(test) is test:
                raise TypeError("`examples` returned an iterator, which is used up after one pass; return a list")
            self._loaded = train, test
        return self._loaded


def count(batches: Loader) -> int:
    """Examples in a loader: what its sampler draws, or its data set holds, or the lengths of its batches together.

    A batch is (inputs, targets, …) or a mapping of such.
    """
    for name in ("sampler", "dataset"):
        if isinstance(held := getattr(batches, name, None), Sized):
            return len(held)
    return sum(len(next(iter(b.values())) if isinstance(b, Mapping) else b[0]) for b in batches)


def build(factory: Callable[..., Any], ctx: Context) -> Any:
    """Call a model's factory; with the context if it asks for exactly one argument."""
    needed = [
        p for p in inspect.signature(factory).parameters.values() if p.default is p.empty and p.kind in _POSITIONAL
    ]
    return factory(ctx) if len(needed) == 1 else factory()


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def epochs(ctx: Context) -> int:
    return int(ctx.config.get("epochs", 1))


def as_metrics(returned: Any) -> dict[str, float]:
    """What a training function may return: nothing, its loss, or metrics by name."""
    if returned is None:
        return {}
    return dict(returned) if isinstance(returned, Mapping) else {"loss": float(returned)}


def refuse_proximal(ctx: Context) -> None:
    """An adapter that cannot reach into the optimiser must not pretend to run FedProx. Raises Unsupported."""
    if ctx.strategy == "FedProx" and ctx.strategy_parameters.get("mu", 0.0):
        raise Unsupported("this adapter cannot add FedProx's term; write an umbel.Client with umbel.Proximal")


class Adapter(Client):
    """A client around examples and an evaluating function; subclasses know their framework's models."""

    def __init__(self, examples: ExamplesOf) -> None:
        self._examples = Examples(examples)

    def num_examples(self, ctx: Context) -> int:
        return count(self._examples.train(ctx))

    def evaluate(self, parameters: dict[str, Any], ctx: Context) -> Evaluation:
        test = self._examples.test(ctx)
        return Evaluation(count(test), self._measure(parameters, test, ctx))

    def training_loss(self, parameters: dict[str, Any], ctx: Context) -> float:
        measured = self._measure(parameters, self._examples.train(ctx), ctx)
        if "loss" not in measured:
            raise Unsupported("the strategy asks for the training loss: let `evaluate` return a metric named loss")
        return float(measured["loss"])

    @abstractmethod
    def _measure(self, parameters: Mapping[str, Any], batches: Loader, ctx: Context) -> Mapping[str, float]:
        """Metrics of a model over batches."""
