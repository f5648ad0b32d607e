"""What a user writes, and what he gives back: `Client`, `Update`, `Evaluation`, `buffer`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from umbel.wire.layout import Array

if TYPE_CHECKING:
    from umbel.client.context import Context

Parameters = Mapping[str, Any]  # name -> something that numpy makes an array of


class Unsupported(Exception):
    """Raised by a client that cannot do what a task asks for; the round goes on without it."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array of the model that is not trained: BatchNorm statistics, counters. It is averaged, never scaled."""

    array: Any


def buffer(array: Any) -> Buffer:
    """Mark an array in what `Client.initial` returns as one that is not trained."""
    return Buffer(array)


@dataclass(frozen=True, slots=True)
class Update:
    """What `Client.fit` returns.

    ``parameters``: the whole model after training, by name, in the shapes it came in; of another float type, they are
    cast. The tensors of ``spec.model.localParameters`` may be among them and stay in the silo.
    ``metrics``: numbers by the names of ``spec.metrics``; others are dropped at the server.
    """

    parameters: Parameters
    metrics: Mapping[str, float] = field(default_factory=dict)
    gradients: bool = False

    @classmethod
    def from_gradients(cls, gradients: Parameters, metrics: Mapping[str, float] | None = None) -> Update:
        """The gradient at the received model instead of a trained model: −g is sent, and the server's
        ``serverLearningRate`` is the step. Every trained tensor must be there; a buffer that is there is its new
        value, one that is not stays as it was."""
        return cls(gradients, metrics or {}, gradients=True)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `Client.evaluate` returns: over how many examples (≥ 1), and metrics by name, means over those examples."""

    num_examples: int
    metrics: Mapping[str, float]


class Client(ABC):
    """One silo's part in a job. Parameters handed in are the client's own to write to, until the call returns.

    All calls of one process come from one thread, one after another. What they raise stays in the silo's log; the
    server learns only that this silo declined.
    """

    def initial(self, ctx: Context) -> Mapping[str, Any]:
        """The first model: {name: array, or umbel.buffer(array)}. Runs once at the server, without data."""
        raise Unsupported("this client has no `initial`; write one, or set spec.model.initial to a checkpoint")

    @abstractmethod
    def num_examples(self, ctx: Context) -> int:
        """How many examples this silo trains on, ≥ 1: its weight. Asked at the start and after each training."""

    @abstractmethod
    def fit(self, parameters: dict[str, Array], ctx: Context) -> Update:
        """Train. Ends soon after ``ctx.should_stop`` turns true; `Context.steps` does that by itself."""

    def evaluate(self, parameters: dict[str, Array], ctx: Context) -> Evaluation:
        """Measure a model on this silo's held-out examples."""
        raise Unsupported("this client has no `evaluate`; write one, or set spec.evaluation.everyRounds to 0")

    def training_loss(self, parameters: dict[str, Array], ctx: Context) -> float:
        """Mean loss of the received model over the training examples; only q-FedAvg asks for it, before `fit`."""
        raise Unsupported("the strategy asks for `training_loss`, which this client does not have")

    def finished(self, parameters: dict[str, Array], ctx: Context) -> None:  # noqa: B027  (optional, not abstract)
        """The job is complete; these are the final parameters, the silo's private ones included."""
