"""Whether a silo can take part now. Pure: rules and facts in, the reason against it out."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator
from fnmatch import fnmatchcase

from umbel.client.eligibility.facts import Facts
from umbel.client.eligibility.rules import DAYS, Rules, Window, minutes


def hindrance(rules: Rules, facts: Facts) -> str | None:
    """What speaks against taking part, for the silo's own log; None: nothing does."""
    return next(_hindrances(rules, facts), None)


def _hindrances(rules: Rules, facts: Facts) -> Iterator[str]:
    if rules.windows:
        local = facts.now.astimezone(zoneinfo.ZoneInfo(rules.time_zone))
        if not any(is_open(window, local) for window in rules.windows):
            yield f"no window is open ({local:%a %H:%M} {rules.time_zone})"
    if rules.max_load is not None:
        if facts.others is None:
            yield "the machine's load cannot be read"
        elif facts.others > rules.max_load:
            yield f"others use {facts.others:.0%} of the machine's CPU time, more than {rules.max_load:.0%}"
    if rules.idle_seconds is not None:
        if facts.idle is None:
            yield "when somebody last typed at a terminal cannot be read"
        elif facts.idle < rules.idle_seconds:
            yield f"somebody typed at a terminal {facts.idle:.0f} s ago, less than {rules.idle_seconds} s"
    if rules.charging:
        if facts.mains is None:
            yield "the machine's power supply cannot be read"
        elif not facts.mains:
            yield "the machine is not on mains power"
    if rules.unmetered_interfaces:
        yield from _metered(rules.unmetered_interfaces, facts.interfaces)


def is_open(window: Window, local: datetime.datetime) -> bool:
    """By what a clock on the wall there shows."""
    opens, closes = minutes(window.opens), minutes(window.closes)
    now, today = local.hour * 60 + local.minute, local.weekday()
    if opens < closes:
        return DAYS[today] in window.days and opens <= now < closes
    yesterday = DAYS[today - 1]
    return (DAYS[today] in window.days and now >= opens) or (yesterday in window.days and now < closes)


def _metered(patterns: tuple[str, ...], interfaces: tuple[str, ...] | None) -> Iterator[str]:
    if interfaces is None:
        yield "the machine's routes cannot be read"
    elif not interfaces:
        yield "the machine has no default route"
    else:
        for name in interfaces:
            if not any(fnmatchcase(name, pattern) for pattern in patterns):
                yield f"traffic takes the interface {name}, which is none of {', '.join(patterns)}"
