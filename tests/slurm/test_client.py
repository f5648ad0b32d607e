"""A real client in a real job: TERM, whoever sends it, makes it send what its training has come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from process.harness import APP, Control, Processes, manifest

from umbel_operator.agent.batch.standing import Phase

from .desk import Desk
from .federation import ALONE, SILO, Federation, worked

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("how", ["signalled", "cancelled", "preempted", "limited"])
async def test_a_client_that_is_told_to_end_sends_its_partial_update(
    desk: Desk, processes: Processes, tmp_path: Path, how: str
) -> None:
    control = Control(tmp_path / "control")
    control.order("fit.1", "slow")  # at its third step, until WrapUp
    job = manifest([SILO], **ALONE, rounds={"total": 2, "timeoutSeconds": 600}, evaluation={"everyRounds": 0})
    federation = Federation(processes, tmp_path, job, APP)
    command = federation.client("--stop-seconds", "60", UMBEL_TEST_CONTROL=control.folder)
    limit = {"time_seconds": 60, "term_seconds": 30} if how == "limited" else {}
    id = await desk.submit(command, site={"partition": "fl"}, cpus_per_task=4, **limit)
    await desk.until(id, lambda job, found: control.at(SILO, "fit", 1) is not None)
    if how == "signalled":
        await desk.slurm.cancel(id, "TERM")
    elif how == "cancelled":
        await desk.slurm.cancel(id)
    elif how == "preempted":
        await desk.submit(["true"], name="umbel-hi", site={"partition": "hi"}, cpus_per_task=4)
    _, found = await desk.until_phase(id, Phase.ENDED)
    assert "round 1: update accepted (3 steps)" in desk.said()
    reasons = {"signalled": "Stopped", "cancelled": "Cancelled", "preempted": "Preempted", "limited": "TimeLimit"}
    assert found.reason in {reasons[how], "Stopped"}
    again = await desk.submit(command)  # the next attempt trains the next round
    _, found = await desk.until_phase(again, Phase.ENDED)
    assert found.reason == "Completed"
    assert worked(federation.history()) == [(1, 0), (0, 1)]
