"""Rules and facts in, the reason against taking part out."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.client.eligibility.decision import hindrance, is_open
from umbel.client.eligibility.facts import Facts
from umbel.client.eligibility.rules import DAYS, Rules, Window, minutes

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati")
MONDAY = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)

clocks = st.integers(0, 24 * 60 - 1).map(lambda m: f"{m // 60:02}:{m % 60:02}")
moments = st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2027, 12, 31), timezones=st.just(datetime.UTC))


def at(text: str) -> datetime.datetime:
    """``Wed 23:59`` of one week."""
    day, clock = text.split()
    return MONDAY + datetime.timedelta(days=DAYS.index(day), minutes=minutes(clock))  # type: ignore[arg-type]


def rules(**given: Any) -> Rules:
    return Rules.model_validate(given)


def windows(*given: dict[str, Any], **more: Any) -> Rules:
    return rules(windows=list(given), **more)


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("Fri 21:59", False),
        ("Fri 22:00", True),
        ("Sat 05:59", True),
        ("Sat 06:00", False),
        ("Sat 22:00", False),
        ("Mon 03:00", False),
        ("Mon 22:00", True),
        ("Tue 00:00", True),
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_on_which_it_opens(moment: str, open_: bool) -> None:
    night = windows({"days": ["Mon", "Fri"], "opens": "22:00", "closes": "06:00"})
    assert (hindrance(night, Facts(at(moment))) is None) == open_


def test_sunday_night_ends_on_monday() -> None:
    night = windows({"days": ["Sun"], "opens": "22:00", "closes": "06:00"})
    assert hindrance(night, Facts(at("Mon 05:00"))) is None
    assert hindrance(night, Facts(at("Mon 22:00"))) == "no window is open (Mon 22:00 UTC)"


def test_the_clock_is_that_of_the_time_zone_also_over_a_change_of_summer_time() -> None:
    night = windows({"opens": "22:00", "closes": "06:00"}, timeZone="Europe/Berlin")
    for day, opens in ((datetime.date(2026, 7, 1), 20), (datetime.date(2026, 12, 1), 21)):
        moment = datetime.datetime.combine(day, datetime.time(opens), datetime.UTC)
        assert hindrance(night, Facts(moment)) is None
        assert hindrance(night, Facts(moment - datetime.timedelta(minutes=1))) is not None


@given(clocks, clocks, moments, st.sampled_from(ZONES))
def test_a_window_of_every_day_is_open_exactly_when_its_complement_is_not(
    opens: str, closes: str, moment: datetime.datetime, zone: str
) -> None:
    if opens == closes:
        return
    there = moment.astimezone(zoneinfo.ZoneInfo(zone))
    one = Window.model_validate({"opens": opens, "closes": closes})
    other = Window.model_validate({"opens": closes, "closes": opens})
    assert is_open(one, there) != is_open(other, there)
    one_rule = windows({"opens": opens, "closes": closes}, timeZone=zone)
    assert (hindrance(one_rule, Facts(moment)) is None) == is_open(one, there)


@given(st.sets(st.sampled_from(DAYS), min_size=1), clocks, clocks, moments)
def test_a_window_is_open_for_its_length_after_each_of_its_openings_and_no_more(
    days: set[str], opens: str, closes: str, moment: datetime.datetime
) -> None:
    if opens == closes:
        return
    window = Window.model_validate({"days": sorted(days), "opens": opens, "closes": closes})
    length = datetime.timedelta(minutes=(minutes(closes) - minutes(opens)) % (24 * 60))
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    openings = [
        midnight + datetime.timedelta(days=shift, minutes=minutes(opens))
        for shift in (-1, 0)
        if DAYS[(midnight + datetime.timedelta(days=shift)).weekday()] in days
    ]
    assert is_open(window, moment) == any(opening <= moment < opening + length for opening in openings)


@given(moments)
def test_the_whole_day_is_always_and_no_rules_are_too(moment: datetime.datetime) -> None:
    assert hindrance(windows({"opens": "00:00", "closes": "24:00"}), Facts(moment)) is None
    assert hindrance(rules(), Facts(moment)) is None


EACH: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str, str]] = {
    "load": (
        {"maxLoad": 0.5},
        {"others": 0.5},
        {"others": 0.51},
        "others use 51% of the machine's CPU time, more than 50%",
        "the machine's load cannot be read",
    ),
    "idle": (
        {"idleSeconds": 600},
        {"idle": 600.0},
        {"idle": 599.0},
        "somebody typed at a terminal 599 s ago, less than 600 s",
        "when somebody last typed at a terminal cannot be read",
    ),
    "charging": (
        {"charging": True},
        {"mains": True},
        {"mains": False},
        "the machine is not on mains power",
        "the machine's power supply cannot be read",
    ),
    "unmetered": (
        {"unmeteredInterfaces": ["en*", "eth0"]},
        {"interfaces": ("enp3s0", "eth0")},
        {"interfaces": ("enp3s0", "wwan0")},
        "traffic takes the interface wwan0, which is none of en*, eth0",
        "the machine's routes cannot be read",
    ),
}


@pytest.mark.parametrize("name", EACH)
def test_each_rule_met_not_met_and_not_to_be_read(name: str) -> None:
    rule, good, bad, why, unreadable = EACH[name]
    assert hindrance(rules(**rule), Facts(MONDAY, **good)) is None
    assert hindrance(rules(**rule), Facts(MONDAY, **bad)) == why
    assert hindrance(rules(**rule), Facts(MONDAY)) == unreadable
    assert hindrance(rules(), Facts(MONDAY, **bad)) is None


def test_without_a_default_route_nothing_is_known_to_be_unmetered() -> None:
    rule = rules(unmeteredInterfaces=["*"])
    assert hindrance(rule, Facts(MONDAY, interfaces=())) == "the machine has no default route"


@given(st.lists(st.sampled_from(sorted(EACH)), unique=True), st.data())
def test_all_rules_have_to_be_met(names: list[str], data: st.DataObject) -> None:
    rule: dict[str, Any] = {}
    known: dict[str, Any] = {}
    met = True
    for name in names:
        good = data.draw(st.booleans())
        rule |= EACH[name][0]
        known |= EACH[name][1] if good else data.draw(st.sampled_from([EACH[name][2], {}]))
        met &= good
    assert (hindrance(rules(**rule), Facts(MONDAY, **known)) is None) == met
