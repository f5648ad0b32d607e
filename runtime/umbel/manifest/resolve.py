"""The defaults that depend on other fields, computed in one place for the laptop, the server and the operator."""

from __future__ import annotations

from umbel import rules
from umbel.manifest.checks import check, released
from umbel.manifest.errors import JobError
from umbel.manifest.rounds import Rounds
from umbel.manifest.whole import FederatedJob, Spec, Strategy


def resolve(job: FederatedJob) -> FederatedJob:
    """A copy of ``job`` with every computed default filled in; resolving that again changes nothing.

    With a siloSelector ``rounds.updates`` stays None unless given: the silos are not known yet. ``overSelection``
    stays None where the return rate decides. Raises JobError with every fault.
    """
    faults = check(job)
    if faults:
        raise JobError(faults)
    spec = job.spec
    update = {"rounds": _rounds(spec), "strategy": _strategy(spec.strategy), "metrics": tuple(released(spec).values())}
    return job.model_copy(update={"spec": spec.model_copy(update=update)})


def _rounds(spec: Spec) -> Rounds:
    rounds = spec.rounds
    updates = rounds.updates or len(spec.silos) or None
    quorum = rounds.quorum
    if quorum is None and updates is not None:
        quorum = max(-(-2 * updates // 3), spec.privacy.min_cohort)
    grace = rounds.grace_seconds
    if grace is None:
        grace = min(60.0, max(1.0, rounds.timeout_seconds / 10))
    name = spec.strategy.name
    return rounds.model_copy(
        update={
            "updates": updates,
            "quorum": quorum,
            "grace_seconds": grace,
            "partial_updates": rounds.partial_updates or _forced(name, "rounds.partialUpdates"),
            "selection": rounds.selection or _forced(name, "rounds.selection"),
        }
    )


def _strategy(strategy: Strategy) -> Strategy:
    return strategy.model_copy(
        update={
            "parameters": rules.complete(strategy.name, strategy.parameters),
            "weighting": strategy.weighting or _forced(strategy.name, "strategy.weighting"),
        }
    )


def _forced(name: str, path: str) -> str:
    """What the rule needs at ``path`` below spec, else what is usual there."""
    rule = rules.rule(name)
    return (rule.forces if rule else {}).get(path, rules.USUAL[path])
