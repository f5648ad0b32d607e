"""FederatedClients whose job does not exist any more, and only those, are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from unit.operator.api_fake import Api

from umbel_operator import names
from umbel_operator.hub import orphans
from umbel_operator.hub.clients import ClientBook


class Hub(Api):
    """Two jobs, one of which has gone, with a FederatedClient in each of two silos; ``book`` has seen them."""

    def __init__(self) -> None:
        super().__init__()
        self.put("FederatedJob", "alive", "default", meta={"uid": "alive-uid"})
        self.book = ClientBook(None, lambda *told: None)  # type: ignore[arg-type]
        for job in ("alive", "gone"):
            for silo in ("a", "b"):
                self.book.saw("ADDED", self.client(f"{job}-{silo}", f"umbel-silo-{silo}", f"{job}-uid"))

    def client(self, name: str, namespace: str, uid: str) -> Any:
        labels = {names.JOB_UID: uid}
        return self.put("FederatedClient", name, namespace, labels=labels, meta={"uid": f"{name} of {uid}"})

    def sweep(self, living: Collection[str] = ()) -> list[str]:
        asyncio.run(orphans.sweep(self, self.book, living))  # type: ignore[arg-type]
        return sorted(self.names("FederatedClient"))


@pytest.fixture
def hub() -> Hub:
    return Hub()


def test_those_of_a_job_that_has_gone_are_deleted_and_no_others(hub: Hub) -> None:
    assert hub.sweep() == ["alive-a", "alive-b"]


def test_a_job_that_is_being_deleted_is_there_still(hub: Hub) -> None:
    """What goes with it, its own deletion sees to."""
    hub.put("FederatedJob", "gone", "default", meta={"uid": "gone-uid", "deletionTimestamp": "2027-01-15T08:00:00Z"})
    assert len(hub.sweep()) == 4


def test_one_that_a_later_job_of_the_name_has_made_since_stays(hub: Hub) -> None:
    """The watch has not shown it yet."""
    hub.client("gone-a", "umbel-silo-a", "alive-uid")
    assert hub.sweep() == ["alive-a", "alive-b", "gone-a"]


def test_while_all_jobs_are_known_nothing_is_asked(hub: Hub) -> None:
    hub.absent.add("FederatedJob")  # to list them would fail
    assert len(hub.sweep(["alive-uid", "gone-uid"])) == 4
