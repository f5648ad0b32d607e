"""Clients that die, freeze, hang, raise or are slow: the round closes without them, and they come back."""

from __future__ import annotations

import signal

import psutil
import pytest

from .app.controlled import SECRET, STEPS
from .harness import Run, manifest, wait_for

pytestmark = pytest.mark.process

SILOS = ("silo-1", "silo-2", "silo-3", "silo-4")
QUICK = {"UMBEL_TEST_PAUSE": "0.1"}
BRIEF = {"timeoutSeconds": 2}  # an evaluation waits for everybody who is connected


def text_of(run: Run) -> str:
    """Everything that the run wrote down outside its silos."""
    files = [path for path in run.path.rglob("*") if path.is_file() and "silos" not in path.relative_to(run.path).parts]
    return "".join(path.read_text(errors="replace") for path in files) + run.said()


def test_killed_before_its_upload(run: Run) -> None:
    """In the middle of training. It is back within the round, gets the task again and does it: nothing is missing."""
    run.control.order("fit.2.silo-1", "hold")
    run.start(manifest(SILOS), launcher=QUICK)
    pid = wait_for(lambda: run.control.at("silo-1", "fit", 2), "silo-1 to train")
    psutil.Process(pid).kill()
    wait_for(lambda: run.control.at("silo-1", "fit", 2) != pid, "silo-1 to train again")
    run.control.end("fit.2.silo-1")
    run.complete()
    assert run.committed() == [1, 2, 3]
    assert [record["full"] for record in run.history()] == [4, 4, 4]
    assert "silo-1 was killed by SIGKILL" in run.said()


def test_killed_after_its_upload(run: Run) -> None:
    """Its update counts once; the task that it gets when it is back is answered with that."""
    run.control.order("fit.1.silo-2", "hold")
    run.start(manifest(SILOS), launcher=QUICK)
    run.control.await_all(SILOS, "fit", 1)
    wait_for(lambda: "round 1: update accepted" in run.client_log("silo-1"), "silo-1's update to be there")
    first = run.client("silo-1")
    first.kill()
    run.client("silo-1", not_pid=first.pid)
    run.control.end("fit.1.silo-2")
    run.complete()
    assert run.committed() == [1, 2, 3]
    assert [record["full"] for record in run.history()] == [4, 4, 4]


def test_killed_within_its_upload(run: Run) -> None:
    """Of 16 MB, stopped dead between two frames: what came is not counted, and the round has the rest."""
    size = 4_000_000
    run.control.order("fit.1.silo-2", "hold")
    job = manifest(SILOS, app={"client": "controlled:app", "config": {"size": size}}, rounds={"total": 1})
    run.start(job, launcher=QUICK | {"UMBEL_TEST_STALL": "silo-1"})
    stalled = run.control.folder / "stalled-silo-1"
    wait_for(stalled.exists, "silo-1 to be half way through its upload")
    first = run.client("silo-1")
    first.kill()
    run.client("silo-1", not_pid=first.pid)
    run.control.end("fit.1.silo-2")
    run.complete()
    record = run.history()[0]
    assert (record["full"], record["lost"]) == (4, 0)
    assert record["bytesUp"] > 4 * 4 * size, "the half that was cut off was sent in vain"


def test_frozen_past_the_deadline(run: Run) -> None:
    """The round closes at its deadline with the quorum; once it thaws, the silo is back in the rounds."""
    rounds = {"total": 100_000, "timeoutSeconds": 6, "quorum": 3, "graceSeconds": 0}
    run.control.order("fit.1.silo-1", "hold")
    run.start(manifest(SILOS, rounds=rounds, evaluation=BRIEF))
    pid = wait_for(lambda: run.control.at("silo-1", "fit", 1), "silo-1 to train")
    psutil.Process(pid).suspend()
    first = run.released(1)
    run.control.end("fit.1.silo-1")
    psutil.Process(pid).resume()
    wait_for(lambda: "update accepted" in run.client_log("silo-1"), "silo-1 to be back")
    run.signal(signal.SIGINT)
    assert run.wait() == 130
    assert (first["outcome"], first["full"], first["timedOut"] + first["lost"]) == ("Committed", 3, 1)
    assert "silo-1" not in run.said(), "it was never started again"


def test_raising_is_declining(run: Run) -> None:
    """The round goes on without it; what was raised is in the silo's own log, and nowhere else."""
    run.control.order("fit.2.silo-3", "raise")
    run.start(manifest(SILOS)).complete()
    assert [(record["full"], record["declined"]) for record in run.history()] == [(4, 0), (3, 1), (4, 0)]
    assert SECRET in run.client_log("silo-3")
    assert "Traceback" in run.client_log("silo-3")
    assert SECRET not in text_of(run)


def test_a_fit_that_hangs_costs_its_round_the_timeout_and_no_more(run: Run) -> None:
    run.control.order("fit.1.silo-4", "hold")
    run.start(manifest(SILOS, rounds={"total": 1, "timeoutSeconds": 4, "quorum": 3}, evaluation=BRIEF))
    record = run.released(1)
    assert (record["outcome"], record["full"], record["timedOut"]) == ("Committed", 3, 1)
    run.control.end("fit.1.silo-4")
    run.complete()


def test_a_slow_client_hears_of_the_close_and_its_partial_work_counts(run: Run) -> None:
    run.control.order("fit.1.silo-1", "slow")
    run.start(manifest(SILOS, rounds={"total": 2, "timeoutSeconds": 8, "graceSeconds": 4})).complete()
    first, second = run.history()
    assert (first["full"], first["partial"], first["timedOut"]) == (3, 1, 0)
    assert first["seconds"]["train"] < 8
    assert (second["full"], second["partial"]) == (4, 0)
    assert f"round 1: update accepted ({3} steps)" in run.client_log("silo-1")
    assert f"round 2: update accepted ({STEPS} steps)" in run.client_log("silo-1")


def test_honest_members_finish_while_another_crashes_all_the_time(run: Run) -> None:
    """In round 4, which stays open for three crashes: back each time, and given the task again."""
    run.control.order("fit.2.silo-1", "hold")
    run.control.order("fit.4.silo-1", "hold")
    run.control.order("fit.4.silo-4", "die")
    rounds = {"total": 8, "updates": 3, "quorum": 3, "overSelection": 2}
    run.start(manifest(SILOS, rounds=rounds), launcher=QUICK)
    # Whoever is there when a round opens is invited.
    wait_for(lambda: all("connected" in run.client_log(silo) for silo in SILOS), "everybody to be connected")
    run.control.end("fit.2.silo-1")
    wait_for(lambda: run.said().count("silo-4 was killed by SIGKILL") >= 3, "silo-4 to have crashed three times")
    run.control.end("fit.4.silo-1")
    run.complete()
    assert run.committed() == list(range(1, 9))
    assert all(record["full"] == 3 for record in run.history())


def test_too_few_silos_left_end_the_job(run: Run) -> None:
    for silo in ("silo-3", "silo-4"):
        run.control.order(f"fit.{silo}", "die")
    run.start(manifest(SILOS, rounds={"total": 12, "quorum": 3}), launcher=QUICK)
    assert run.wait() == 1
    assert "silo-3 is Failed: it was killed by SIGKILL, after 5 new starts" in run.said()
    assert "Failed: TooFewSilos: 2 of 4 silos are left and the quorum is 3" in run.said()
    assert not run.processes.family()


def test_ended_by_the_terminal(run: Run) -> None:
    """Ctrl-C reaches the supervisor only. Nobody is left, and the run goes on where it was."""
    run.control.order("fit.2", "hold")
    run.start(manifest(SILOS))
    run.control.await_all(SILOS, "fit", 2)
    run.released(1)
    everybody = run.processes.family()
    run.signal(signal.SIGINT)
    assert run.wait() == 130
    assert len(everybody) == 6
    assert not [p for p in everybody if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert f"umbel run --resume {run.path}" in run.said()
    run.control.end("fit.2")
    run.start(None).complete()
    assert run.committed() == [1, 2, 3]
    assert run.endpoints["epoch"] == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_supervisor(run: Run, number: signal.Signals) -> None:
    run.control.order("fit.1", "hold")
    run.start(manifest(SILOS))
    run.control.await_all(SILOS, "fit", 1)
    everybody = run.processes.family()
    assert len(everybody) == 6
    run.signal(number)
    run.wait()
    wait_for(lambda: not run.processes.family(), "everybody to be gone")
    run.control.end("fit.1")
    run.start(None).complete()
    assert run.committed() == [1, 2, 3]
