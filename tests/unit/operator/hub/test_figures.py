"""What the operator's metrics say of a job, and that they say no more than they may."""

from __future__ import annotations

import re
from typing import Any

import pytest

from umbel.server.metric_names import LABELS
from umbel_operator.hub.figures import abandoned_in_a_row, figures, listed, withheld_in_a_row
from umbel_operator.metrics import MAX_JOBS, OF_A_JOB, LabelError, Metrics

from .world import NOW, SILOS, World, federated_job


def condition(type_: str, status: str, reason: str) -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "lastTransitionTime": "2027-01-15T08:00:00Z"}


def of(*conditions: dict[str, Any], certificates: tuple[float, ...] = (), **status: Any) -> dict[str, float]:
    """By name, with the label's value in brackets."""
    job = federated_job(activeDeadlineSeconds=3600)
    job["status"] = {"conditions": list(conditions), **status}
    found = figures(job, certificates)
    return {name + (f"[{','.join(values)}]" if values else ""): number for (name, values), number in found.items()}


def ones(found: dict[str, float], metric: str) -> list[str]:
    return [name.partition("[")[2][:-1] for name, number in found.items() if name.startswith(f"{metric}[") and number]


@pytest.mark.parametrize("phase", ["Complete", "Failed", "Suspended"])
def test_a_condition_is_the_phase(phase: str) -> None:
    assert ones(of(condition(phase, "True", "Other")), "fl_federatedjob_status_phase") == [phase]


def test_every_other_phase_is_zero() -> None:
    phases = {name: value for name, value in of().items() if name.startswith("fl_federatedjob_status_phase")}
    assert sum(phases.values()) == 1
    assert len(phases) == 4
    assert phases["fl_federatedjob_status_phase[Progressing]"] == 1


@pytest.mark.parametrize("reason", ["Starting", "WaitingForSilos", "WaitingForEndpoint", "TooFewSilos"])
def test_why_no_round_opens(reason: str) -> None:
    found = of(condition("Progressing", "True", reason))
    assert ones(found, "fl_federatedjob_waiting") == [reason]


@pytest.mark.parametrize(("status", "reason"), [("True", "Training"), ("False", "Suspended"), ("False", "Complete")])
def test_who_trains_or_has_ended_waits_for_nothing(status: str, reason: str) -> None:
    assert ones(of(condition("Progressing", status, reason)), "fl_federatedjob_waiting") == []


@pytest.mark.parametrize(("reason", "shown"), [("Diverged", "Diverged"), ("OutOfCheese", "Other")])
def test_a_failure_has_a_known_reason(reason: str, shown: str) -> None:
    assert ones(of(condition("Failed", "True", reason)), "fl_federatedjob_failed") == [shown]


def test_times_of_a_job() -> None:
    found = of(startTime="2027-01-15T08:00:00Z")
    assert found["fl_federatedjob_start_timestamp_seconds"] == NOW
    assert found["fl_federatedjob_deadline_timestamp_seconds"] == NOW + 3600
    assert "fl_federatedjob_completion_timestamp_seconds" not in found


def test_who_has_ended_has_an_end_and_no_deadline_or_certificate() -> None:
    ended = condition("Complete", "True", "AllRoundsCommitted")
    found = of(
        ended, startTime="2027-01-15T08:00:00Z", completionTime="2027-01-15T08:10:00Z", certificates=(NOW + 60.0,)
    )
    assert found["fl_federatedjob_completion_timestamp_seconds"] == NOW + 600
    assert not [name for name in found if "deadline" in name or "certificate" in name]


def test_the_first_certificate_counts() -> None:
    name = "fl_federatedjob_certificate_earliest_expiry_timestamp_seconds"
    assert of(certificates=(NOW + 9, NOW + 5, NOW + 7))[name] == NOW + 5
    assert name not in of()


def test_silos_and_values() -> None:
    values = [
        {"name": "loss", "phase": "evaluate", "value": 0.5},
        {"name": "accuracy", "phase": "train", "value": 0.75},
    ]
    found = of(silos={"ready": 3, "total": 4, "summary": "3/4"}, metrics=values, round={"number": 2, "total": 9})
    assert found["fl_federatedjob_silos[ready]"] == 3
    assert found["fl_federatedjob_silos[not_ready]"] == 1
    assert found["fl_federatedjob_model_loss[evaluate]"] == 0.5
    assert found["fl_federatedjob_model_metric[train,accuracy]"] == 0.75
    assert found["fl_federatedjob_round"] == 2
    assert found["fl_federatedjob_rounds_target"] == 9


# ---- in a row


def closed(outcome: str, reason: str = "", **withheld: int) -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason, "withheld": withheld}


GOOD, BAD = closed("Committed"), closed("Abandoned", "QuorumNotReached")


@pytest.mark.parametrize(
    ("history", "count"),
    [
        ([], 0),
        ([BAD, BAD, GOOD], 0),
        ([GOOD, BAD, BAD, BAD], 3),
        ([BAD, GOOD, BAD], 1),
        ([BAD, closed("Abandoned", "Suspended"), BAD], 2),
        ([closed("Abandoned", "JobEnded")], 0),
    ],
)
def test_abandoned_in_a_row(history: list[dict[str, Any]], count: int) -> None:
    assert abandoned_in_a_row(history) == count


HIDDEN = closed("Committed", below_min_cohort=2)


@pytest.mark.parametrize(
    ("history", "count"),
    [
        ([HIDDEN, HIDDEN], 2),
        ([HIDDEN, BAD, HIDDEN], 2),
        ([HIDDEN, GOOD], 0),
        ([HIDDEN, closed("Committed", undeclared=3)], 0),
        ([closed("Committed", below_min_cohort=0)], 0),
    ],
)
def test_withheld_in_a_row(history: list[dict[str, Any]], count: int) -> None:
    assert withheld_in_a_row(history) == count


# ---- a whole job, as the reconciler writes its status


def test_of_a_job_that_ran_every_figure_is_declared() -> None:
    world = World()
    world.settle()
    world.serve(rounds=2)
    world.settle()
    found = figures(world.obj, [NOW])
    metrics = Metrics("1")
    metrics.show({("default", "digits"): found})
    text = metrics.text().decode()
    assert 'fl_federatedjob_round{fl_job="digits",fl_namespace="default"} 2.0' in text
    assert not any(silo in text for silo in SILOS)


# ---- what can be exported at all


def test_labels_are_those_that_servers_may_have() -> None:
    metrics = Metrics("1")
    for name, declared in OF_A_JOB.items():
        assert declared.labels.keys() <= LABELS, name
    for line in metrics.text().decode().splitlines():
        if not line.startswith("#"):
            assert set(re.findall(r'(\w+)="', line)) <= LABELS | {"le", "fl_namespace", "fl_job"}


@pytest.mark.parametrize(
    "wrong",
    [
        {("fl_federatedjob_silo", ()): 1.0},
        {("fl_federatedjob_round", ("hospital-a",)): 1.0},
        {("fl_federatedjob_silos", ("hospital-a",)): 1.0},
        {("fl_federatedjob_silos", ()): 1.0},
    ],
)
def test_nothing_undeclared_is_exported(wrong: dict[Any, float]) -> None:
    with pytest.raises(LabelError):
        Metrics("1").show({("default", "digits"): wrong})


def test_of_a_job_that_is_gone_nothing_stays() -> None:
    metrics = Metrics("1")
    metrics.show({("default", "digits"): figures(federated_job(), [])})
    assert b'fl_job="digits"' in metrics.text()
    metrics.show({})
    assert b'fl_job="digits"' not in metrics.text()


def test_nobody_is_told_when_a_counter_began() -> None:
    assert b"_created" not in Metrics("1").text()


def test_who_goes_on_has_figures_before_who_has_ended() -> None:
    def ended(minute: int) -> dict[str, Any]:
        return {**federated_job(), "status": {"completionTime": f"2027-01-15T08:{minute:02}:00Z"}}

    running = [federated_job() for _ in range(MAX_JOBS - 1)]
    shown, unlisted = listed([ended(1), *running, ended(2)])
    assert unlisted == 1
    assert [job.get("status") for job in shown if "status" in job] == [ended(2)["status"]]
