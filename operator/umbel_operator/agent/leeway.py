"""What a site file leaves to the hub. No rule is an answer too, and its administrator should know that he gave it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from umbel_operator.agent.allocation import NODES, TASKS
from umbel_operator.agent.site import EVERY, Site


@dataclass(frozen=True, slots=True)
class Leeway:
    """``field``: of the site file, that would bound it. ``what``: the hub may choose."""

    field: str
    what: str

    def __str__(self) -> str:
        return f"{self.field}: {self.what}"


def leeway(site: Site) -> tuple[Leeway, ...]:
    """Under Manual all that a job declares was seen before it was approved; how long it really lasts was not."""
    unasked = tuple(_unasked(site)) if site.policy.approval == "Auto" else ()
    return (*unasked, *_time(site))


def _unasked(site: Site) -> Iterator[Leeway]:
    policy = site.policy
    if "*" in policy.images:
        yield Leeway("policy.images", "any image")
    if policy.images and not policy.require_digest:
        yield Leeway("policy.requireDigest", "what a tag stands for, today and tomorrow")
    for name, patterns in (("clients", policy.clients), ("namespaces", policy.namespaces), ("jobs", policy.jobs)):
        if "*" in patterns:
            yield Leeway(f"policy.{name}", f"any {'client module' if name == 'clients' else name[:-1]}")
    if not policy.privacy.min_cohort:
        yield Leeway("policy.privacy.minCohort", "of how few silos something is released")
    if not policy.privacy.min_examples:
        yield Leeway("policy.privacy.minExamples", "of how few examples something is released")
    yield from _resources(site)
    if everybodys := [name for name, d in site.datasets.items() if d.namespaces == d.jobs == EVERY]:
        yield Leeway("datasets.*.namespaces, .jobs", f"which of the jobs allowed above see {', '.join(everybodys)}")


def _resources(site: Site) -> Iterator[Leeway]:
    ceilings = site.pods.ceilings
    wanted = ["cpu", "memory", *([NODES] if site.slurm is not None else [])]
    open_ = [name for name in wanted if name not in ceilings]
    if not any("/" in name and name not in (NODES, TASKS) for name in ceilings):
        open_.append("devices")
    if open_:
        yield Leeway("pods.ceilings", f"how much a client is given of {', '.join(open_)}")


def _time(site: Site) -> Iterator[Leeway]:
    if site.policy.max_seconds is None:
        yield Leeway("policy.maxSeconds", "how long a client is here")
