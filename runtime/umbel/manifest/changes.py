"""What may change in a job that runs already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from umbel.manifest.errors import path_of
from umbel.manifest.whole import FederatedJob

MUTABLE = frozenset(
    {
        "spec.suspend",
        "spec.rounds.total",
        "spec.activeDeadlineSeconds",
        "spec.ttlSecondsAfterFinished",
        "spec.model.retain",
        "spec.model.output",
        "spec.silos",
    }
)


def mutable_while_running(old: FederatedJob, new: FederatedJob) -> list[str]:
    """Paths of the fields that differ between two manifests of one job and must not while it runs; [] when all is well.

    Compare both unresolved: what is computed from the silos changes with them. Lists, and maps whose keys differ, are
    named as a whole.
    """
    return sorted(_differing(("spec",), _dump(old), _dump(new)))


def _dump(job: FederatedJob) -> dict[str, Any]:
    return job.spec.model_dump(mode="json", by_alias=True)


def _differing(location: tuple[str, ...], old: Any, new: Any) -> Iterator[str]:
    path = path_of(location)
    if path in MUTABLE or old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        for key in old:
            yield from _differing((*location, key), old[key], new[key])
    else:
        yield path
