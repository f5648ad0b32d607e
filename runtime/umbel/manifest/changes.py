"""What may change in a job that runs already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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

    Compare both unresolved or both resolved. Of lists and maps of names the whole is named, not the entry.
    """
    return sorted(_differing("spec", _dump(old), _dump(new)))


def _dump(job: FederatedJob) -> dict[str, Any]:
    return job.spec.model_dump(mode="json", by_alias=True)


def _differing(path: str, old: Any, new: Any) -> Iterator[str]:
    if path in MUTABLE or old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys() and path not in MAPS:
        for key in old:
            yield from _differing(f"{path}.{key}", old[key], new[key])
    else:
        yield path


MAPS = frozenset({"spec.app.config", "spec.strategy.parameters"})
