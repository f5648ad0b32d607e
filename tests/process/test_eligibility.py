"""A silo whose own rules keep it away: the rounds close with the others, and nobody outside learns why."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from .harness import Control, Run, manifest

pytestmark = pytest.mark.process

SILOS = ("silo-1", "silo-2", "silo-3", "silo-4")


def not_now() -> str:
    """A window of one minute that opens in about twelve hours."""
    opens = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)
    closes = opens + datetime.timedelta(minutes=1)
    return json.dumps({"windows": [{"opens": f"{opens:%H:%M}", "closes": f"{closes:%H:%M}"}]})


def test_a_window_that_is_not_open_declines_once_and_the_quorum_does_the_rest(run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(not_now())
    job = manifest(SILOS, rounds={"total": 3, "quorum": 3, "timeoutSeconds": 120})
    run.start(job, "--eligibility", f"silo-2={rules}").complete()
    records = run.history()
    assert [(r["outcome"], r["invited"], r["full"], r["declined"]) for r in records] == [
        ("Committed", 4, 3, 1),
        ("Committed", 3, 3, 0),
        ("Committed", 3, 3, 0),
    ]
    assert "declined, as this silo is not eligible now: no window is open" in run.client_log("silo-2")
    assert run.control.at("silo-2", "fit", 1) is None
    assert "window" not in run.server_log()
    assert (run.path / "silos/silo-2/state/model.safetensors").exists(), "the final model is for everybody"


def plugged(control: Control, silo: str, online: bool) -> None:
    """Whether the machine of a silo, whose power supply is the test's, is on mains."""
    supply = control.folder / "machine" / silo / "sys/class/power_supply/AC"
    supply.mkdir(parents=True, exist_ok=True)
    (supply / "type").write_text("Mains\n")
    (supply / "online~").write_text(f"{online:d}\n")
    (supply / "online~").rename(supply / "online")
    battery = supply.with_name("BAT0")
    battery.mkdir(exist_ok=True)
    (battery / "type").write_text("Battery\n")


def test_lost_in_the_middle_of_a_round_what_is_done_is_sent_or_declined_as_the_silo_says(
    run: Run, tmp_path: Path
) -> None:
    losing = {"silo-2": "SendPartial", "silo-3": "Decline"}
    options: list[str] = []
    for silo, on_loss in losing.items():
        plugged(run.control, silo, True)
        (tmp_path / f"{silo}.json").write_text(json.dumps({"charging": True, "onLoss": on_loss}))
        options += ["--eligibility", f"{silo}={tmp_path / silo}.json"]
        run.control.order(f"fit.1.{silo}", "slow")
    rounds = {"total": 2, "quorum": 3, "timeoutSeconds": 120}
    run.start(manifest(SILOS, rounds=rounds, evaluation={"everyRounds": 0}), *options, launcher={})
    run.control.await_all(SILOS, "fit", 1)
    for silo in losing:
        plugged(run.control, silo, False)
    first = run.released(1)
    assert [first[key] for key in ("outcome", "invited", "full", "partial", "declined")] == ["Committed", 4, 2, 1, 1]
    lost = "round 1: this silo is not eligible any more: the machine is not on mains power;"
    assert f"{lost} what is done is sent" in run.client_log("silo-2")
    assert f"{lost} the task is declined" in run.client_log("silo-3")
    for silo in losing:
        plugged(run.control, silo, True)
    run.complete()
    last = run.history()[-1]
    assert (last["round"], last["outcome"]) == (2, "Committed")
    assert last["full"] >= 3, "no quorum without one of them: they are asked again"
    assert "mains" not in run.server_log()
