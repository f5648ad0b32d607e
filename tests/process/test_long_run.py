"""Two hundred rounds of one server: it holds no more in the end than early on."""

from __future__ import annotations

import json

import pytest

from .harness import Run, manifest

pytestmark = pytest.mark.process

MIB = 2**20


def test_what_the_server_holds_does_not_grow(run: Run) -> None:
    job = manifest(rounds={"total": 200}, app={"client": "controlled:app", "config": {"size": 100_000}})
    run.start(job, launcher={"UMBEL_TEST_CENSUS": "50 200"}).complete()
    early, late = (json.loads((run.control.folder / f"census-{n}.json").read_text()) for n in (50, 200))
    for what in ("descriptors", "threads", "tasks"):
        assert late[what] <= early[what] + 3, f"{what}: {early[what]} after 50 rounds, {late[what]} after 200"
    assert late["resident"] - early["resident"] < 16 * MIB
