"""How the fields of a manifest have to go together. Each rule can be said in CEL too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from umbel import rules
from umbel.manifest.errors import Fault, shown
from umbel.manifest.rounds import MAX_METRICS, Metric
from umbel.manifest.whole import FederatedJob, Spec

LOSS = Metric(name="loss", min=0.0, max=100.0)
SILOS = "the number of spec.silos"
PASSWORD = re.compile(r"://[^/@]*:[^/@]+@")


def check(job: FederatedJob) -> list[Fault]:
    """Every fault of a manifest whose fields are right one by one."""
    spec = job.spec
    return [fault for rule in RULES for fault in rule(spec)]


def released(spec: Spec) -> dict[str, Metric]:
    """Every metric that may be released, by name; `loss` always is."""
    return {LOSS.name: LOSS} | {metric.name: metric for metric in spec.metrics}


def _participants(spec: Spec) -> Iterator[Fault]:
    if spec.silos and spec.silo_selector:
        yield Fault("spec.siloSelector", "is given as well as spec.silos", "keep one of the two")
    elif not spec.silos and not spec.silo_selector:
        yield Fault("spec.silos", "is missing, and so is spec.siloSelector", "list the silos, or select them")
    yield from _twice("spec.silos", (silo.name for silo in spec.silos))
    if spec.silo_selector and spec.rounds.quorum is None:
        fault = "is missing; with spec.siloSelector the number of silos is not known beforehand"
        yield Fault("spec.rounds.quorum", fault, "give it")


def _cohort(spec: Spec) -> Iterator[Fault]:
    """minCohort ≤ quorum ≤ updates ≤ silos, where absent ones are passed over: a default fits its neighbours."""
    if spec.privacy.min_cohort < 3 and not spec.privacy.allow_small_cohort:
        fault = f"{spec.privacy.min_cohort} is less than 3"
        yield Fault("spec.privacy.minCohort", fault, "use at least 3, or set spec.privacy.allowSmallCohort: true")
    chain = [
        ("spec.privacy.minCohort", spec.privacy.min_cohort),
        ("spec.rounds.quorum", spec.rounds.quorum),
        ("spec.rounds.updates", spec.rounds.updates),
        (SILOS, len(spec.silos) or None),
    ]
    there = [(name, value) for name, value in chain if value is not None]
    for (name, value), (above, limit) in pairwise(there):
        if value > limit:
            more = "list more silos" if above == SILOS else f"raise {above}"
            remedy = f"use at most {limit}, or {more}"
            if name == "spec.privacy.minCohort" and limit < 3:
                remedy = f"{more}, or use {limit} with spec.privacy.allowSmallCohort: true"
            yield Fault(name, f"{value} is more than {above} ({limit})", remedy)


def _clocks(spec: Spec) -> Iterator[Fault]:
    rounds = spec.rounds
    if rounds.grace_seconds is not None and rounds.grace_seconds > rounds.timeout_seconds:
        fault = f"{shown(rounds.grace_seconds)} is more than spec.rounds.timeoutSeconds ({rounds.timeout_seconds})"
        yield Fault("spec.rounds.graceSeconds", fault, f"use at most {rounds.timeout_seconds}")


def _strategy(spec: Spec) -> Iterator[Fault]:
    name = spec.strategy.name
    yield from rules.check_name(name)
    rule = rules.rule(name)
    if rule is None:
        return
    yield from rules.check_parameters(name, spec.strategy.parameters)
    said = {
        "rounds.partialUpdates": spec.rounds.partial_updates,
        "rounds.selection": spec.rounds.selection,
        "strategy.weighting": spec.strategy.weighting,
    }
    for path, forced in rule.forces.items():
        if said[path] not in (None, forced):
            yield Fault(
                f"spec.{path}", f"{said[path]} does not go with strategy {name}", f"use {forced}, or leave it out"
            )


def _metrics(spec: Spec) -> Iterator[Fault]:
    yield from _twice("spec.metrics", (metric.name for metric in spec.metrics))
    others = sum(metric.name != LOSS.name for metric in spec.metrics)
    if others > MAX_METRICS:
        yield Fault("spec.metrics", f"has {others} entries besides loss", f"keep at most {MAX_METRICS}")
    for number, metric in enumerate(spec.metrics):
        if metric.min >= metric.max:
            fault = f"{shown(metric.min)} is not below max ({shown(metric.max)})"
            yield Fault(f"spec.metrics[{number}].min", fault, "use a min below the max")


def _stop_when(spec: Spec) -> Iterator[Fault]:
    path, stop = "spec.rounds.stopWhen", spec.rounds.stop_when
    ways = {"atLeast": stop.at_least, "atMost": stop.at_most, "plateau": stop.plateau}
    given = [name for name, value in ways.items() if value is not None]
    if stop.metric is None:
        if given:
            yield Fault(f"{path}.metric", f"is missing, and {given[0]} is given", "name a metric, or remove it")
        return
    if len(given) != 1:
        fault = f"has {' and '.join(given) or 'none of atLeast, atMost, plateau'}"
        yield Fault(path, fault, "give exactly one of atLeast, atMost, plateau")
    metric = released(spec).get(stop.metric)
    if metric is None:
        remedy = f"declare it in spec.metrics, or use one of {', '.join(released(spec))}"
        yield Fault(f"{path}.metric", f"{shown(stop.metric)} is not in spec.metrics", remedy)
        return
    for name, value in (("atLeast", stop.at_least), ("atMost", stop.at_most)):
        if value is not None and not metric.min <= value <= metric.max:
            low, high = shown(metric.min), shown(metric.max)
            fault = (
                f"{shown(value)} is outside the range of {metric.name} ({low} to {high}), to which values are clipped"
            )
            yield Fault(f"{path}.{name}", fault, f"use {low} to {high}, or widen the range in spec.metrics")


def _model(spec: Spec) -> Iterator[Fault]:
    initial = spec.model.initial
    if initial.from_ == "Checkpoint" and initial.uri is None:
        yield Fault("spec.model.initial.uri", "is missing; `from` is Checkpoint", "give the URI of a safetensors file")
    if initial.from_ == "App" and initial.uri is not None:
        yield Fault("spec.model.initial.uri", "is given, but `from` is App", "remove it, or set from: Checkpoint")
    for path, uri in (("initial.uri", initial.uri), ("output.uri", spec.model.output.uri)):
        if uri and PASSWORD.search(uri):
            fault = "has a password in it, which everybody who can read the job would see"
            yield Fault(f"spec.model.{path}", fault, "put it in the Secret that spec.model.credentialsSecret names")
    yield from _twice("spec.model.localParameters", spec.model.local_parameters)
    if "*" in spec.model.local_parameters:
        yield Fault("spec.model.localParameters", "'*' keeps every parameter in its silo", "leave some to be averaged")


def _server(spec: Spec) -> Iterator[Fault]:
    path, expose = "spec.server.expose.gatewayRef", spec.server.expose
    if expose.type == "Gateway" and expose.gateway_ref is None:
        yield Fault(path, "is missing; spec.server.expose.type is Gateway", "name the Gateway")
    if expose.type != "Gateway" and expose.gateway_ref is not None:
        yield Fault(path, f"is given, but spec.server.expose.type is {expose.type}", "remove it, or set type: Gateway")
    yield from _twice("spec.server.checkpoint.accessModes", spec.server.checkpoint.access_modes)
    yield from _twice("spec.server.imagePullSecrets", (secret.name for secret in spec.server.image_pull_secrets))


def _twice(path: str, names: Iterable[str]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if name in first:
            yield Fault(f"{path}[{number}]", f"{shown(name)} is already {path}[{first[name]}]", "keep one of them")
        first.setdefault(name, number)


RULES = (_participants, _cohort, _clocks, _strategy, _metrics, _stop_when, _model, _server)
