"""What a pass over one FederatedClient may want done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of ``obj`` in the silo's cluster."""

    obj: Object


@dataclass(frozen=True, slots=True)
class MakeKey:
    """Create this Secret with a new key in it, unless there is one; the pass begins anew."""

    secret: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """``uid``: this very object, not one made since under its name."""

    kind: str
    name: str
    uid: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """Set labels of an object, or remove those that are None."""

    kind: str
    name: str
    labels: Mapping[str, str | None]


Action = Apply | MakeKey | Delete | Label


@dataclass(frozen=True, slots=True)
class Plan:
    """``actions`` in the silo, in order; then ``status``, the whole of it, to the hub (None: as it is). ``again``:
    seconds after which to look once more, whatever happens."""

    actions: tuple[Action, ...] = ()
    status: Object | None = None
    again: float | None = None

    @property
    def writes(self) -> bool:
        return bool(self.actions) or self.status is not None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in the silo's cluster of one client. ``dataset_volume``: the claim that the site file names for its
    data set, None when there is none such."""

    deployments: tuple[Object, ...] = ()
    secrets: tuple[Object, ...] = ()
    network_policies: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    dataset_volume: Object | None = None

    @property
    def empty(self) -> bool:
        return not (self.deployments or self.secrets or self.network_policies or self.volumes)


@dataclass(frozen=True, slots=True)
class Clocks:
    """What only a process that stays can know. ``finished_since``: when it first saw that the job has ended."""

    now: float
    finished_since: float | None = None
    pending_seconds: float = 0.0


@dataclass(slots=True)
class Draft:
    """A plan in the making."""

    actions: list[Action] = field(default_factory=list)
    again: float | None = None

    def look_again(self, seconds: float | None) -> None:
        if seconds is not None:
            self.again = seconds if self.again is None else min(self.again, seconds)
