"""Quantities, and what a client's container gets."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.agent.silo import client, site_file

from umbel_operator.agent.quantity import parse
from umbel_operator.agent.resources import effective, whole_cpus


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        (2, 2),
        ("500m", Fraction(1, 2)),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("+3", 3),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1e-3", Fraction(1, 1000)),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1Ki", 1024),
        ("1k", 1000),
        ("1.5Gi", 3 * 2**29),
        ("100n", Fraction(1, 10**7)),
    ],
)
def test_quantities(text: str | int, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("text", ["", "many", "1 Gi", "1gi", "-1", "1e1000", "1KiB"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantity|range"):
        parse(text)


@given(st.integers(0, 10**6), st.sampled_from(["m", "", "k", "Ki", "Mi", "G"]))
def test_more_is_more(number: int, suffix: str) -> None:
    assert parse(f"{number}{suffix}") < parse(f"{number + 1}{suffix}")


def resources(asked: dict[str, Any], **pods: Any) -> dict[str, dict[str, str]]:
    return effective(client(resources=asked), site_file(pods=pods).pods)


def test_a_job_that_says_nothing_gets_the_sites_defaults() -> None:
    assert resources({}) == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": "1", "memory": "2Gi"},
    }


def test_a_job_gets_what_it_asks_for() -> None:
    asked = {"requests": {"cpu": "2", "memory": "3Gi"}, "limits": {"cpu": "4", "memory": "4Gi", "nvidia.com/gpu": "1"}}
    assert resources(asked) == asked


def test_a_default_limit_is_never_below_what_is_requested() -> None:
    assert resources({"requests": {"memory": "6Gi"}})["limits"]["memory"] == "6Gi"


def test_a_default_request_is_never_above_the_limit() -> None:
    assert resources({"limits": {"memory": "64Mi"}})["requests"]["memory"] == "64Mi"


def test_what_has_a_ceiling_has_a_limit() -> None:
    found = resources({}, ceilings={"memory": "1Gi", "ephemeral-storage": "5Gi", "nvidia.com/gpu": 2})
    assert found["limits"] == {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "5Gi"}


def test_a_device_that_is_requested_is_limited_to_as_many() -> None:
    assert resources({"requests": {"nvidia.com/gpu": "2"}})["limits"]["nvidia.com/gpu"] == "2"


AMOUNT = st.sampled_from(["100m", "1", "2", "64Mi", "1Gi", "3"])
SOME = st.dictionaries(st.sampled_from(["cpu", "memory"]), AMOUNT)


@given(SOME, SOME, SOME, SOME)
def test_requests_never_exceed_limits(
    requests: dict[str, str], limits: dict[str, str], defaults: dict[str, str], ceilings: dict[str, str]
) -> None:
    requests = {k: v for k, v in requests.items() if k not in limits or parse(v) <= parse(limits[k])}
    over = {
        k for part in (requests, limits) for k, v in part.items() if k in ceilings and parse(v) > parse(ceilings[k])
    }
    found = resources(
        {"requests": requests, "limits": limits},
        defaults={"requests": defaults, "limits": defaults},
        ceilings={k: v for k, v in ceilings.items() if k not in over},
    )
    for resource, value in found["requests"].items():
        assert resource not in found["limits"] or parse(value) <= parse(found["limits"][resource])
    for resource, value in ceilings.items():
        if resource not in over:
            assert parse(found["limits"][resource]) <= parse(value)


@pytest.mark.parametrize(("cpu", "threads"), [("100m", 1), ("1", 1), ("1999m", 1), ("2", 2), ("2500m", 2), ("16", 16)])
def test_threads_are_the_whole_cpus(cpu: str, threads: int) -> None:
    assert whole_cpus({"cpu": cpu}) == threads


def test_without_a_limit_of_cpus_there_is_one_thread() -> None:
    assert whole_cpus({}) == 1
