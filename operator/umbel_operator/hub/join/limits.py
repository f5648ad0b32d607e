"""How many requests the open endpoint takes: so many a minute from one address, and so many at all. Pure."""

from __future__ import annotations

from collections import OrderedDict

ADDRESSES = 4096  # remembered; the one that was quiet for longest is forgotten first


class Allowance:
    """A bucket that fills with ``per_minute`` and holds as many."""

    def __init__(self, per_minute: float, now: float) -> None:
        self._rate = per_minute / 60
        self._most = self._left = per_minute
        self._at = now

    def take(self, now: float) -> bool:
        self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Limits:
    """One address cannot use up what is there for all."""

    def __init__(self, each: float = 120.0, together: float = 1200.0, now: float = 0.0) -> None:
        self._each = each
        self._all = Allowance(together, now)
        self._by_address: OrderedDict[str, Allowance] = OrderedDict()

    def admit(self, address: str, now: float) -> bool:
        own = self._by_address.setdefault(address, Allowance(self._each, now))
        self._by_address.move_to_end(address)
        if len(self._by_address) > ADDRESSES:
            self._by_address.popitem(last=False)
        return own.take(now) and self._all.take(now)
