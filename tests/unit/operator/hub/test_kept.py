"""What is kept of an object between passes: little; all of its content until a pass has compared it."""

from __future__ import annotations

from typing import Any

from umbel_operator.digest import same, stamped
from umbel_operator.hub.kept import compared, kept
from umbel_operator.hub.observed import Observed, key

WANTED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "digits-server", "namespace": "default"},
    "spec": {"type": "NodePort", "selector": {"app": "digits"}},
}


def live(**spec: Any) -> dict[str, Any]:
    return {**stamped(WANTED), "spec": {**WANTED["spec"], "clusterIP": "10.96.0.9", **spec}}


def test_an_object_of_an_earlier_process_is_compared_by_all_that_it_says() -> None:
    assert same(WANTED, kept(live(), compare=True), None)
    assert not same(WANTED, kept(live(selector={"app": "other"}), compare=True), None)


def test_what_a_pass_has_compared_is_known_by_its_digest_from_then_on() -> None:
    place = key(WANTED)
    applied: dict[Any, Any] = {}
    first = Observed(objects={place: kept(live(), compare=True)})
    after = compared(first, [place], applied)
    assert after.objects[place] == kept(live())
    assert same(WANTED, kept(live()), applied[place])
    assert not same(WANTED, kept(live(selector={"app": "other"})), applied[place])
    assert compared(after, [place], {}) is after


def test_what_a_pass_has_not_compared_stays_whole() -> None:
    first = Observed(objects={key(WANTED): kept(live(), compare=True)})
    assert compared(first, [], {}) is first
