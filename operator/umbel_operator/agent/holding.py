"""One client as a backend found it: what every backend can say of it, and can be told to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from umbel_operator.agent.identity import PrivateKey
from umbel_operator.agent.plan import Clocks, Draft
from umbel_operator.conditions import Condition

GOING_SECONDS = 2.0  # until something that is going away is looked for again


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``again``: seconds after which time alone may have changed it."""

    ready: Condition
    again: float | None = None


def ready(reason: str, message: str) -> Diagnosis:
    return Diagnosis(Condition("Ready", "True", reason, message))


def not_ready(reason: str, message: str, again: float | None = None) -> Diagnosis:
    return Diagnosis(Condition("Ready", "False", reason, message), again)


class Holding(Protocol):
    """Pure: what is to be done goes into the draft, in the backend's own words. What it says of key, run and model is
    of the very job that the FederatedClient is for; what an earlier one of the same name left is `clear`'s."""

    @property
    def key(self) -> PrivateKey | None:
        """None: there is none that can be used."""
        ...

    @property
    def begun(self) -> float | None:
        """When the client first began to run here, in seconds since the epoch; None: it has not, so far."""
        ...

    @property
    def runs(self) -> bool:
        """Whether a client was told to run, and may still bring the final model."""
        ...

    @property
    def waits(self) -> bool:
        """Whether one was told to run, and nothing runs so far."""
        ...

    @property
    def final_round(self) -> int | None:
        """The round of the final model, if the client has ended with it in its state."""
        ...

    @property
    def remains(self) -> bool:
        """Whether anything is here that is not meant to stay."""
        ...

    def clear(self, draft: Draft) -> None:
        """Remove what an earlier job of the same name left: its key is not this one's, nor is its state."""
        ...

    def make_key(self, draft: Draft) -> None:
        """In the place of whatever is there; when it is made, the pass begins anew."""
        ...

    def install(self, draft: Draft) -> None:
        """Put the certificate from the hub beside the key, unless it is there."""
        ...

    def run(self, wanted: bool, draft: Draft) -> None:
        """Start the client, change or stop it; the secrets stay."""
        ...

    def stop(self, draft: Draft) -> None:
        """Stop the client and remove its secrets, of any job; the state stays."""
        ...

    def leave(self, draft: Draft) -> None:
        """Mark the state as retained, or remove it, as the site file says."""
        ...

    def diagnose(self, clocks: Clocks) -> Diagnosis:
        """What the client is doing, when it is meant to run. Nothing here repeats text that the user's code, a
        registry or a scheduler wrote: reasons are constants, messages are ours and carry numbers at most."""
        ...
