"""What `umbel hub check` says of a hub that is not whole."""

from __future__ import annotations

from typing import Any

import pytest

from umbel_operator.conditions import timestamp
from umbel_operator.hub import check
from umbel_operator.hub.check import check as looks
from umbel_operator.kube import ApiError, Kind

NOW = 1_800_000_000.0
PLURALS = ("federatedjobs", "federatedclients", "silos")
UNREACHABLE = ApiError(0, "Unreachable", "connection refused")
INVALID = ApiError(422, "Invalid", "spec.rounds.total: must be at least 0")


class Hub:
    """``served``: kinds, or an error. ``tried``: what a right and a wrong job are answered; None: accepted."""

    def __init__(self) -> None:
        self.served: tuple[str, ...] | ApiError = (*PLURALS, "federatedjobs/status")
        self.right: ApiError | None = None
        self.wrong: ApiError | None = INVALID
        self.lease: dict[str, Any] | ApiError | None = {"spec": {"renewTime": timestamp(NOW - 20)}}
        self.asked: list[dict[str, str]] = []

    async def request(self, method: str, path: str, *, body: Any = None, params: Any = None) -> Any:
        if method == "GET":
            assert path == "/apis/umbel.dev/v1alpha1"
            if isinstance(self.served, ApiError):
                raise self.served
            return {"resources": [{"name": name} for name in self.served]}
        assert (method, path) == ("POST", "/apis/umbel.dev/v1alpha1/namespaces/umbel/federatedjobs")
        self.asked.append(params)
        answer = self.right if body["spec"]["rounds"]["total"] > 0 else self.wrong
        if answer is not None:
            raise answer

    async def get(self, kind: Kind, name: str, namespace: str) -> Any:
        assert (kind.kind, name, namespace) == ("Lease", "umbel-operator", "umbel")
        if isinstance(self.lease, ApiError):
            raise self.lease
        return self.lease

    async def faults(self) -> dict[str, str]:
        return {look: fault async for look, fault in looks(self, "umbel") if fault}  # type: ignore[arg-type]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    class Clock:
        @staticmethod
        def time() -> float:
            return NOW

    monkeypatch.setattr(check, "time", Clock)
    return Hub()


async def test_a_hub_that_is_whole(hub: Hub) -> None:
    assert await hub.faults() == {}
    assert len(hub.asked) == 2
    assert all(params == {"dryRun": "All", "fieldValidation": "Strict"} for params in hub.asked), "nothing is made"


@pytest.mark.parametrize(
    ("served", "told"),
    [
        (("federatedjobs",), "federatedclients, silos are not served; apply all of crds/"),
        (ApiError(404, "NotFound", "page not found"), "umbel.dev/v1alpha1 is not served; install the Custom"),
        (ApiError(403, "Forbidden", "no"), "cannot be read: 403 Forbidden: no"),
        (UNREACHABLE, "cannot be read: unreachable Unreachable: connection refused"),
    ],
)
async def test_kinds(hub: Hub, served: Any, told: str) -> None:
    hub.served = served
    found = await hub.faults()
    assert found.keys() == {"the kinds of the API"}
    assert found["the kinds of the API"].startswith(told)


@pytest.mark.parametrize("error", [INVALID, UNREACHABLE])
async def test_a_right_job_that_is_refused(hub: Hub, error: ApiError) -> None:
    hub.right = error
    assert await hub.faults() == {"a job that is right": f"was refused: {error}"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "was accepted: the CustomResourceDefinitions are not those of this version"),
        (ApiError(403, "Forbidden", "no"), "was refused for another reason: 403 Forbidden: no"),
    ],
)
async def test_a_wrong_job_that_is_not_refused_for_what_is_wrong(hub: Hub, answer: ApiError | None, told: str) -> None:
    hub.wrong = answer
    assert await hub.faults() == {"a job that is wrong": told}


@pytest.mark.parametrize(
    ("lease", "told"),
    [
        (None, "is not there: no operator has run in namespace umbel; look at its log"),
        ({"spec": {}}, "is not there: no operator has run in namespace umbel; look at its log"),
        ({"spec": {"renewTime": timestamp(NOW - 121)}}, "was 121 s ago; look at the operator's log"),
        (ApiError(403, "Forbidden", "no"), "cannot be read: 403 Forbidden: no"),
    ],
)
async def test_a_heartbeat_that_is_missing(hub: Hub, lease: Any, told: str) -> None:
    hub.lease = lease
    assert await hub.faults() == {"the operator's heartbeat": told}


async def test_a_heartbeat_is_old_only_after_the_longest_silence(hub: Hub) -> None:
    hub.lease = {"spec": {"renewTime": timestamp(NOW - 120)}}
    assert await hub.faults() == {}
