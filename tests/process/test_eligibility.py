"""A silo whose own rules keep it away: the rounds close with the others, and nobody outside learns why."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from .harness import Run, manifest

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
