"""Nothing of a round is seen before it is published, and then everything in one step."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from umbel.server.board import KEPT
from umbel.server.checkpoint import CheckpointInfo

from .things import SILOS, Desk, job, record, traffic, view

INFO = CheckpointInfo(4, Path("/state/checkpoints/checkpoint-000004/model.safetensors"), "ab12", 1234.5)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def visible(desk: Desk) -> tuple[dict[str, Any], str, str]:
    """Everything that somebody outside can read, less what says when the process was asked."""
    status = desk.board.status(view("Evaluating"))
    lines = desk.board.exposition(view("Evaluating")).decode().splitlines()
    ours = [line for line in lines if not line.startswith(("process_", "python_", "#"))]
    return json.loads(json.dumps(status)), "\n".join(ours), desk.history.read_text()


# ---- P3


def test_a_record_taken_up_for_the_state_file_is_not_seen(desk: Desk) -> None:
    before = visible(desk)
    desk.board.add(record(), traffic())
    assert visible(desk) == before
    assert desk.board.state({}, None)["board"]["rounds"][0]["full"] == 11


def test_traffic_that_is_counted_is_not_seen(desk: Desk) -> None:
    before = visible(desk)
    desk.traffic.up += 5000
    desk.traffic.requests["PutUpdate", "OK"] += 1
    desk.traffic.joins["accepted"] += 1
    desk.traffic.residences.append(0.1)
    assert visible(desk) == before


def test_publishing_shows_the_round_everywhere(desk: Desk) -> None:
    made, moved = record(), traffic()
    desk.board.add(made, moved)
    desk.board.publish(made, moved, 77)
    status, metrics, history = visible(desk)
    assert status["history"] == [made.to_json()] == [json.loads(history)]
    assert status["metrics"] == {"train": {"loss": 0.75}, "evaluate": {"loss": 0.5, "accuracy": 0.875}}
    assert status["bytes"] == {"up": 9000, "down": 18000}
    assert 'fl_client_updates_total{fl_job="trial",fl_namespace="oncology",outcome="full"} 11.0' in metrics
    assert 'fl_transfer_bytes_total{direction="up",fl_job="trial",fl_namespace="oncology"} 9000.0' in metrics
    (line,) = desk.log.getvalue().splitlines()
    assert {"event": "round", "round": 1, "attempt": 2, "outcome": "Committed"}.items() <= json.loads(line).items()


def test_time_spent_after_the_state_file_is_in_what_is_shown(desk: Desk) -> None:
    made, moved = record(), traffic()
    desk.board.add(made, moved)
    made.seconds["release"] = 9.0
    desk.board.publish(made, moved, 0)
    assert visible(desk)[0]["history"][0]["seconds"]["release"] == 9.0
    assert desk.board.state({}, None)["board"]["rounds"][0]["seconds"]["release"] == 9.0


def test_counts_of_the_open_round_are_not_in_the_status(desk: Desk) -> None:
    assert desk.board.status(view()).keys() == {
        *("job", "namespace", "uid", "epoch", "phase", "reason", "message", "round", "attempt", "total"),
        *("members", "connected", "invited", "secondsToDeadline", "metrics", "history", "model", "output", "bytes"),
    }


# ---- when the state file cannot take the values


def test_withdrawn_values_are_nowhere_and_counted(desk: Desk) -> None:
    first = record(1)
    desk.board.add(first, traffic())
    desk.board.publish(first, traffic(), 0)
    second, moved = record(2, train={"loss": 0.111}, evaluate={"loss": 0.222, "accuracy": 0.333}), traffic()
    second.examples, second.update_norm = 444, 0.555
    desk.board.add(second, moved)
    desk.board.withdraw(second)
    desk.board.publish(second, moved, 0)
    status, metrics, history = visible(desk)
    state = json.dumps(desk.board.state({}, None))
    for canary in ("0.111", "0.222", "0.333", "444", "0.555"):
        assert canary not in f"{status}{metrics}{history}{state}"
    assert status["metrics"] == {"train": {"loss": 0.75}, "evaluate": {"loss": 0.5, "accuracy": 0.875}}
    assert status["history"][-1]["withheld"] == {"below_min_cohort": 4, "not_recorded": 3}
    assert status["history"][-1]["full"] == 11, "counts of members name nobody"
    assert 'reason="not_recorded"} 3.0' in metrics
    assert [json.loads(line)["event"] for line in desk.log.getvalue().splitlines()] == [
        "round",
        "release_withheld",
        "round",
    ]


# ---- what an earlier process left


def test_kept_state_survives(desk: Desk, tmp_path: Path) -> None:
    made, moved = record(), traffic()
    desk.board.add(made, moved)
    desk.board.publish(made, moved, 0)
    kept = json.loads(json.dumps(desk.board.state({"round": 1}, None)))
    later = Desk(tmp_path, kept["board"])
    for name in ("history", "metrics", "bytes"):
        assert later.board.status(view())[name] == desk.board.status(view())[name]
    assert later.history.read_text().count("\n") == 1


def test_the_state_holds_what_awaits_its_release(desk: Desk) -> None:
    state = desk.board.state({"committed": 4}, record(4))
    assert state["engine"] == {"committed": 4}
    assert state["pending"] == record(4).to_json()
    assert desk.board.state({}, None)["pending"] is None


def test_the_last_rounds_are_kept(desk: Desk) -> None:
    for round in range(1, KEPT + 4):
        made = record(round)
        desk.board.add(made, traffic())
        desk.board.publish(made, traffic(), 0)
    status, _, history = visible(desk)
    assert [r["round"] for r in status["history"]] == list(range(4, KEPT + 4))
    assert history.count("\n") == KEPT + 3
    assert status["bytes"]["up"] == 9000 * (KEPT + 3)


def test_a_phase_without_new_values_keeps_its_latest(desk: Desk) -> None:
    for made in (record(1), record(2, train={"loss": 0.25}, evaluate={})):
        desk.board.add(made, traffic())
        desk.board.publish(made, traffic(), 0)
    assert desk.board.status(view())["metrics"] == {
        "train": {"loss": 0.25},
        "evaluate": {"loss": 0.5, "accuracy": 0.875},
    }


# ---- bytes


def test_bytes_published_between_rounds_belong_to_the_next_round(desk: Desk) -> None:
    desk.traffic.up, desk.traffic.down = 10, 20
    desk.board.flush(0)
    assert 'direction="down",fl_job="trial",fl_namespace="oncology"} 20.0' in visible(desk)[1]
    for round, up in ((1, 9010), (2, 9000)):
        made, moved = record(round), traffic()
        desk.board.add(made, moved)
        desk.board.publish(made, moved, 0)
        assert made.bytes_up == up
    status, metrics, _ = visible(desk)
    assert status["bytes"] == {"up": 18010, "down": 36020}
    assert 'direction="up",fl_job="trial",fl_namespace="oncology"} 18010.0' in metrics


# ---- who may be named


def test_no_silo_is_named_anywhere(desk: Desk) -> None:
    made, moved = record(), traffic()
    desk.board.add(made, moved)
    desk.board.publish(made, moved, 0)
    desk.board.checkpointed(INFO)
    desk.board.output_failed("no room")
    everything = f"{visible(desk)}{desk.log.getvalue()}{desk.board.state({}, made)}"
    assert not [name for name in SILOS if name in everything]


def test_the_model_is_told_by_round_digest_and_path(desk: Desk) -> None:
    desk.board.checkpointed(INFO)
    assert desk.board.status(view())["model"] == {"round": 4, "digest": "sha256:ab12", "path": str(INFO.path)}
    assert desk.board.model_path == INFO.path
    assert "fl_job_round{" in visible(desk)[1]


# ---- the end, and failures


@pytest.mark.parametrize(("phase", "read"), [("Training", False), ("Complete", True), ("Failed", True)])
def test_the_end_counts_as_read_only_once_it_is_there(desk: Desk, phase: str, read: bool) -> None:
    desk.board.exposition(view(phase))
    assert not desk.board.ended_was_read.is_set()
    desk.board.status(view(phase))
    assert desk.board.ended_was_read.is_set() is read


@pytest.mark.parametrize("written", [True, False])
def test_a_job_is_complete_once_it_is_known_what_became_of_its_copy(tmp_path: Path, written: bool) -> None:
    """Else the server may have gone, or been stopped, before anybody could read it."""
    desk = Desk(tmp_path, output={"uri": "s3://models/it"})
    told = desk.board.status(view("Complete"))
    assert (told["phase"], told["reason"], told["output"]) == ("Releasing", "Releasing", {})
    assert 'phase="Complete"} 0.0' in desk.board.exposition(view("Complete")).decode()
    assert not desk.board.ended_was_read.is_set()
    desk.board.output_written() if written else desk.board.output_failed("no room")
    told = desk.board.status(view("Complete"))
    assert (told["phase"], told["output"]["written"]) == ("Complete", written)
    assert 'phase="Complete"} 1.0' in desk.board.exposition(view("Complete")).decode()
    assert desk.board.ended_was_read.is_set()


def test_a_failed_job_waits_for_no_copy(tmp_path: Path) -> None:
    assert Desk(tmp_path, output={"uri": "s3://models/it"}).board.status(view("Failed"))["phase"] == "Failed"


def test_a_history_that_cannot_be_written_is_counted_and_the_round_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(record: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk.board._history, "append", full)
    made = record()
    desk.board.add(made, traffic())
    desk.board.publish(made, traffic(), 0)
    status, metrics, _ = visible(desk)
    assert len(status["history"]) == 1
    assert 'fl_checkpoint_failures_total{fl_job="trial",fl_namespace="oncology",reason="disk_full"} 1.0' in metrics


def deadline(desk: Desk, phase: str) -> float:
    (line,) = re.findall(
        r"^fl_round_deadline_timestamp_seconds.* (.+)$", desk.board.exposition(view(phase)).decode(), re.M
    )
    return float(line)


def test_a_step_that_hangs_keeps_its_deadline(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("umbel.server.board.time.time", lambda: clock[0])
    spec = job().spec
    desk.board.training_opened()
    trained = 1_000_000.0 + spec.rounds.timeout_seconds
    clock[0] += 10_000
    assert [deadline(desk, phase) for phase in ("Training", "Closing")] == [trained, trained]
    desk.board.evaluation_opened()
    evaluated = 1_010_000.0 + spec.evaluation.timeout_seconds
    clock[0] += 10_000
    assert [deadline(desk, phase) for phase in ("Evaluating", "Releasing")] == [evaluated, evaluated]


@pytest.mark.parametrize("phase", ["Gathering", "Suspended", "Complete", "Failed"])
def test_without_an_open_round_there_is_no_deadline(desk: Desk, phase: str) -> None:
    desk.board.training_opened()
    assert deadline(desk, phase) == 0.0


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("fl_silo_certificate_earliest_expiry_timestamp_seconds", {"silos_expire": 1.7e9}),
        ("fl_server_certificate_expiry_timestamp_seconds", {"server_expires": 1.7e9}),
    ],
)
def test_a_certificates_end_is_told_while_it_is_known(desk: Desk, metric: str, told: dict[str, float]) -> None:
    sample = f'\n{metric}{{fl_job="trial",fl_namespace="oncology"}} '
    assert sample not in desk.board.exposition(view()).decode()
    assert f"{sample}1.7e+09\n" in desk.board.exposition(view(), **told).decode()
    assert sample not in desk.board.exposition(view()).decode(), "nobody is connected any more"


def test_before_the_members_are_known_nobody_is_absent(desk: Desk) -> None:
    text = desk.board.exposition(view("Gathering", members=0, connected=1)).decode()
    assert 'fl_silos{fl_job="trial",fl_namespace="oncology",state="absent"} 0.0' in text
