"""Whether an object still is what was applied: by this process, or by the one before it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from umbel_operator.digest import Applied, includes, same, stamped, stored

SERVICE: dict[str, Any] = {
    "kind": "Service",
    "metadata": {"name": "digits"},
    "spec": {"type": "NodePort", "ports": [{"port": 8443, "name": "federation"}], "selector": {}},
}


def live(**spec: Any) -> dict[str, Any]:
    """As the API server has it: with defaults, and what others have changed since."""
    made = stamped(SERVICE)
    made["spec"] = {**copy.deepcopy(SERVICE["spec"]), "clusterIP": "10.96.0.9", "sessionAffinity": "None", **spec}
    made["spec"]["ports"][0].setdefault("nodePort", 30443)
    return made


def test_what_is_not_there_is_not_the_same() -> None:
    assert not same(SERVICE, None, None)


def test_another_wish_is_not_the_same() -> None:
    assert not same({**SERVICE, "spec": {"type": "ClusterIP"}}, live(), None)


def test_what_this_process_applied_is_the_same_until_its_content_changes() -> None:
    applied = Applied(stamped(SERVICE)["metadata"]["annotations"]["umbel.dev/digest"], stored(live()))
    assert same(SERVICE, live(), applied)
    assert not same(SERVICE, live(sessionAffinity="ClientIP"), applied)


def test_what_an_earlier_process_applied_is_the_same_where_it_says_all_that_is_wanted() -> None:
    assert same(SERVICE, live(), None)
    assert same(SERVICE, live(sessionAffinity="ClientIP"), None), "nothing of ours"
    assert not same(SERVICE, live(type="ClusterIP"), None)
    assert not same(SERVICE, live(ports=[{"port": 9999, "name": "federation"}]), None)
    assert not same(SERVICE, live(ports=[*SERVICE["spec"]["ports"], {"port": 22, "name": "more"}]), None)


def test_a_volume_that_its_administrator_has_enlarged_is_left_alone() -> None:
    wanted = {"kind": "PersistentVolumeClaim", "metadata": {}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    enlarged = copy.deepcopy(stamped(wanted))
    enlarged["spec"]["resources"]["requests"]["storage"] = "5Gi"
    assert same(wanted, enlarged, None)


@pytest.mark.parametrize(
    ("has", "wanted", "answer"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
        (None, {}, True),
        (None, [], True),
        (None, "", True),
        (None, False, False),  # absent may mean true
        (None, {"a": 1}, False),
        ("x", {"a": 1}, False),
        ([{"a": 1, "b": 2}], ({"a": 1},), True),
        ([1, 2], [2, 1], False),
        ("1", "1000m", False),
    ],
)
def test_includes(has: Any, wanted: Any, answer: bool) -> None:
    assert includes(has, wanted) is answer
