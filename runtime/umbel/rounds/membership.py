"""Who belongs to the job, and who of them is connected.

A silo is *gone* when it has had no session for 15 s, counted from the end of its stream: a stream that breaks is
usually back in less. One that is *queued* (its site starts it when its turn has come) is gone at once, and is not
waited for until it leaves the queue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

GONE_AFTER = 15.0  # seconds


@dataclass(slots=True)
class Session:
    """``resting``: it said that it is not eligible; it is asked nothing until it declares again."""

    number: int
    examples: int
    resting: bool = False


class Membership:
    """``sessions`` holds the newest session of each connected silo, members or (before the list is known) others."""

    def __init__(self, members: frozenset[str] | None, now: float) -> None:
        self.members = members
        self.sessions: dict[str, Session] = {}
        self._newest: dict[str, int] = {}  # of every silo seen, so that a straggling older session cannot take over
        self._absent_since: dict[str, float] = dict.fromkeys(members or (), now)
        self._queued: frozenset[str] = frozenset()

    def belongs(self, silo: str) -> bool:
        return self.members is not None and silo in self.members

    def join(self, silo: str, session: int, examples: int) -> int | None:
        """Take a session in. Returns the number of the session that is to end as replaced, which may be this one."""
        if session < self._newest.get(silo, session):
            return session
        old = self.sessions.get(silo)
        self.sessions[silo] = Session(session, examples)
        self._newest[silo] = session
        self._absent_since.pop(silo, None)
        self._queued -= {silo}  # until it is said again: what was said was of before
        return old.number if old and old.number != session else None

    def declare(self, silo: str, session: int, examples: int) -> None:
        if self._is_current(silo, session):
            self.sessions[silo].examples = examples
            self.sessions[silo].resting = False

    def rest(self, silo: str) -> None:
        if silo in self.sessions:
            self.sessions[silo].resting = True

    def leave(self, silo: str, session: int, now: float) -> bool:
        """False if the session had already been replaced."""
        if not self._is_current(silo, session):
            return False
        self.drop(silo, now)
        return True

    def queue(self, silos: frozenset[str], now: float) -> None:
        """Who waits in a queue now; who is connected does not. For who has left one, the wait begins."""
        for silo in self._queued - silos:
            self._absent_since[silo] = now
        self._queued = silos - self.sessions.keys()

    def queued(self) -> frozenset[str]:
        return self._queued & (self.members or frozenset())

    def drop(self, silo: str, now: float) -> None:
        self.sessions.pop(silo, None)
        self._absent_since[silo] = now

    def _is_current(self, silo: str, session: int) -> bool:
        return silo in self.sessions and self.sessions[silo].number == session

    def change(self, members: frozenset[str], now: float) -> list[tuple[str, int]]:
        """The list of members changes. Returns (silo, session) of those connected who are not on it."""
        strangers = [(silo, s.number) for silo, s in sorted(self.sessions.items()) if silo not in members]
        for silo, _ in strangers:
            del self.sessions[silo]
        known = self.members or frozenset()
        for silo in members - known:
            self._absent_since.setdefault(silo, now)
        self.members = members
        self._absent_since = {s: t for s, t in self._absent_since.items() if s in members}
        return strangers

    def connected(self) -> dict[str, int]:
        """Silo: examples, of every connected member."""
        return {silo: s.examples for silo, s in self.sessions.items() if self.belongs(silo)}

    def available(self) -> dict[str, int]:
        """Of `connected`, who can be asked to take part."""
        return {silo: n for silo, n in self.connected().items() if not self.sessions[silo].resting}

    def session(self, silo: str) -> int | None:
        held = self.sessions.get(silo)
        return held.number if held else None

    def is_connected(self, silo: str) -> bool:
        return silo in self.sessions

    def all_gone_at(self, silos: Iterable[str]) -> float | None:
        """When the last of ``silos`` counts, or counted, as gone; None while one of them is connected."""
        latest = float("-inf")
        for silo in silos:
            if silo in self.sessions:
                return None
            if silo in self._queued:
                continue
            latest = max(latest, self._absent_since.get(silo, latest) + GONE_AFTER)
        return latest

    def wait_anew(self, now: float) -> None:
        """After a suspension: being away until now was no absence."""
        self._absent_since = dict.fromkeys(self._absent_since, now)

    def waited_for_until(self, since: float, patience: float) -> float:
        """When everybody who is missing has had ``patience`` seconds to come (back), at most that long from ``since``.

        Who left long ago has been waited for already: a silo that is dead costs its wait once, not in every round.
        """
        missing = (self.members or frozenset()) - self.sessions.keys() - self._queued
        latest = max((self._absent_since.get(silo, since) for silo in missing), default=float("-inf"))
        return min(since, latest) + patience
