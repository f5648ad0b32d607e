"""What of one job has to be read anew, by what watches have shown and what was read and written since. Pure.

Resource versions tell an echo of the operator's own write from news: what was read or written at a version, or a later
one, need not be read because a watch shows that version.
"""

from __future__ import annotations

from dataclasses import dataclass

Name = tuple[str, str]  # namespace, name

LOOK_SECONDS = 300.0  # between two looks at what no watch tells of
ADDRESS_SECONDS = 15.0  # the same while the server's address is waited for, which others give
POD_SECONDS = 60.0  # between two looks at a pod that is not ready, and at its node


@dataclass(frozen=True, slots=True)
class Need:
    """``objects``: of the job's namespace, and what its address depends on. ``clients`` None: whichever there are."""

    objects: bool
    pod: bool
    clients: frozenset[Name] | None

    def __bool__(self) -> bool:
        return self.objects or self.pod or self.clients is None or bool(self.clients)


class Attention:
    """Knows nothing at first, and wants everything."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """What was kept is not to be relied on any more, or is not kept."""
        self._objects = self._pod = self._everyone = True
        self._versions: dict[Name, int] = {}
        self._stale: dict[Name, int] = {}  # the version that was shown; what is read has to be that or newer
        self._looked = self._pod_looked = 0.0

    # ---- what is heard; whether it is news

    def client_shown(self, name: Name, version: int) -> bool:
        """``version`` 0: not known."""
        if self._everyone:
            return True
        if version and version <= max(self._versions.get(name, 0), self._stale.get(name, 0)):
            return False
        self._stale[name] = version
        return True

    def client_gone(self, name: Name) -> None:
        """News always: an answer that is on its way may say that it is still there."""
        self._stale[name] = 0

    def pod_shown(self) -> None:
        self._pod = True

    # ---- what is read and written

    def take(self, now: float, every: float, pod_every: float) -> Need:
        """What to read now; all of it counts as read, unless `forget` follows, and `looked` is to. What is shown from
        here on is news again. ``now``: of a steady clock. ``every``, ``pod_every``: seconds between two looks at what
        no watch tells of, and at the pod."""
        self._objects = self._objects or now - self._looked >= every
        self._pod = self._pod or now - self._pod_looked >= pod_every
        need = Need(self._objects, self._pod, None if self._everyone else frozenset(self._stale))
        if self._everyone:
            self._versions = {}  # of one that no watch has shown yet, nothing will be kept
        self._objects = self._pod = self._everyone = False
        self._stale = {}
        return need

    def looked(self, need: Need, now: float) -> None:
        """What was to be read has been: from the end of a look it is counted to the next, for it may take long."""
        if need.objects:
            self._looked = now
        if need.pod:
            self._pod_looked = now

    def seconds_left(self, now: float, every: float, pod_every: float) -> float:
        """Until there is to be looked though nothing is heard; as for `take`."""
        return max(0.0, min(self._looked + every, self._pod_looked + pod_every) - now)

    def client_read(self, name: Name, version: int) -> None:
        """Or written: it is known as of that version."""
        self._versions[name] = max(version, self._versions.get(name, 0))
        if 0 < self._stale.get(name, 0) <= version:
            del self._stale[name]

    def client_missing(self, name: Name) -> None:
        self._versions.pop(name, None)

    def deleted(self, kind: str, namespace: str, name: str) -> None:
        """By the operator; it may still be there for a while."""
        if kind == "FederatedClient":
            self._stale[namespace, name] = 0
        elif kind == "Pod":
            self._pod = True
        else:
            self._objects = True
