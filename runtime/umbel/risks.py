"""Settings that are allowed but risky: `umbel run --dry-run` prints them, and the operator's condition SettingsAtRisk
says the same words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from umbel.manifest.errors import shown
from umbel.manifest.whole import FederatedJob, Spec

CONDITION = "SettingsAtRisk"


@dataclass(frozen=True, slots=True)
class Risk:
    """``field``: its path in the manifest. ``message``: what may happen, and what would be safer."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def risks(job: FederatedJob) -> list[Risk]:
    """Of a resolved job, in the manifest's order."""
    return [risk for find in (_app, _model, _rounds, _evaluation, _privacy, _deadline) for risk in find(job.spec)]


def _app(spec: Spec) -> Iterator[Risk]:
    if spec.app.image is not None and "@sha256:" not in spec.app.image:
        yield Risk("spec.app.image", "is not pinned: silos may run different code; name it by digest")


def _model(spec: Spec) -> Iterator[Risk]:
    if not spec.model.retain and not spec.model.output.uri:
        yield Risk("spec.model.retain", "false, and spec.model.output.uri is empty: the final model goes with the job")


def _rounds(spec: Spec) -> Iterator[Risk]:
    rounds, silos = spec.rounds, len(spec.silos)
    if silos and rounds.quorum == silos:
        yield Risk("spec.rounds.quorum", f"{silos} is every silo: while one is away no round can commit")
    if rounds.grace_seconds is not None and rounds.grace_seconds > rounds.timeout_seconds / 2:
        half = f"half of spec.rounds.timeoutSeconds ({rounds.timeout_seconds})"
        yield Risk(
            "spec.rounds.graceSeconds", f"{shown(rounds.grace_seconds)} is more than {half}: most work is cut short"
        )


def _evaluation(spec: Spec) -> Iterator[Risk]:
    if spec.evaluation.every_rounds:
        return
    if spec.rounds.stop_when.metric is not None:
        yield Risk("spec.rounds.stopWhen", "never takes effect: spec.evaluation.everyRounds is 0")
    yield Risk("spec.evaluation.everyRounds", "0: a model that gets worse is noticed only when it is no longer finite")


def _privacy(spec: Spec) -> Iterator[Risk]:
    privacy = spec.privacy
    if privacy.min_cohort < 3:
        who = "one silo's own update" if privacy.min_cohort == 1 else "one silo's update to the other"
        yield Risk("spec.privacy.minCohort", f"{privacy.min_cohort} is less than 3: a released model can show {who}")
    if privacy.min_examples < 11:
        message = f"{privacy.min_examples} is less than 11: released numbers can tell about single examples"
        yield Risk("spec.privacy.minExamples", message)
    if privacy.allow_individual_release:
        yield Risk("spec.privacy.allowIndividualRelease", "true: a rule may publish one silo's update as it is")


def _deadline(spec: Spec) -> Iterator[Risk]:
    rounds, evaluation = spec.rounds, spec.evaluation
    evaluations = rounds.total // evaluation.every_rounds if evaluation.every_rounds else 0
    slowest = rounds.total * (rounds.gather_seconds + rounds.timeout_seconds) + evaluations * evaluation.timeout_seconds
    if slowest > spec.active_deadline_seconds:
        message = (
            f"{spec.active_deadline_seconds} ends the job early if every round takes its time: {slowest} s at worst"
        )
        yield Risk("spec.activeDeadlineSeconds", message)
