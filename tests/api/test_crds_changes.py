"""What may change in a job that exists: as `umbel.manifest.changes` has it, said by field."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from api.asking import Asker, asking
from api.crds import applied, job, words
from api.specs import FIELDS, put, removed
from umbel_cluster.api import Api

from umbel.manifest.changes import MUTABLE

pytestmark = pytest.mark.api

SELECTOR = {"matchLabels": {"a": "b"}, "dataset": "d"}
# Every field, as it is before and as it is to become.
CHANGES: dict[str, tuple[Any, Any]] = {
    "app.image": ("a", "b"),
    "app.client": ("a:b", "a:c"),
    "seed": (1, 2),
    "model.initial.from": ("Checkpoint", "App"),
    "model.initial.uri": ("/m", "/n"),
    "model.localParameters": (["head.*"], ["head.*", "tail.*"]),
    "model.output.uri": ("s3://a/b", "s3://a/c"),
    "model.credentialsSecret": ("a", "b"),
    "model.retain": (True, False),
    "strategy.name": ("FedAdam", "FedYogi"),
    "strategy.parameters": ({"tau": 0.1}, {"tau": 0.2}),
    "strategy.weighting": ("Examples", "Uniform"),
    "rounds.total": (5, 6),
    "rounds.updates": (5, 4),
    "rounds.quorum": (4, 3),
    "rounds.timeoutSeconds": (60, 61),
    "rounds.gatherSeconds": (60, 61),
    "rounds.graceSeconds": (1, 1.5),
    "rounds.partialUpdates": ("AsIs", "Refuse"),
    "rounds.rescaleCap": (2, 2.5),
    "rounds.overSelection": (1, 1.5),
    "rounds.selection": ("Uniform", "ByExamples"),
    "rounds.maxConsecutiveAbandoned": (1, 2),
    "rounds.stopWhen.metric": ("accuracy", "loss"),
    "rounds.stopWhen.atLeast": (0.5, 0.6),
    "evaluation.everyRounds": (1, 2),
    "evaluation.timeoutSeconds": (1, 2),
    "metrics": ([{"name": "accuracy", "min": 0, "max": 1}], [{"name": "accuracy", "min": 0, "max": 2}]),
    "privacy.minCohort": (3, 4),
    "privacy.minExamples": (11, 12),
    "privacy.allowSmallCohort": (True, False),
    "privacy.allowIndividualRelease": (True, False),
    "limits.maxExamples": (1, 2),
    "limits.maxAbs": (1, 1.5),
    "silos": (
        [{"name": f"s{n}", "dataset": "d"} for n in range(5)],
        [{"name": f"s{n}", "dataset": "d"} for n in range(6)],
    ),
    "server.resources.requests": ({"cpu": 1}, {"cpu": 2}),
    "server.resources.limits": ({"cpu": "1"}, {"memory": "1Gi"}),
    "server.imagePullSecrets": ([{"name": "a"}], [{"name": "b"}]),
    "server.checkpoint.size": ("1Gi", "2Gi"),
    "server.checkpoint.storageClassName": ("a", "b"),
    "server.checkpoint.accessModes": (["ReadWriteOnce"], ["ReadWriteMany"]),
    "server.expose.type": ("Gateway", "NodePort"),
    "server.expose.host": ("a", "b"),
    "server.expose.gatewayRef": ({"name": "a"}, {"name": "a", "namespace": "b"}),
    "suspend": (False, True),
    "activeDeadlineSeconds": (1, 2),
    "ttlSecondsAfterFinished": (1, 2),
    "managedBy": ("a/b", "a/c"),
}
APART = {  # cannot stand beside the others, or is not seen by rules at all
    "siloSelector": ({**SELECTOR}, {**SELECTOR, "dataset": "e"}),
    "rounds.stopWhen.atMost": (1, 0.5),
    "rounds.stopWhen.plateau": ({"patience": 1}, {"patience": 2}),
}
NOT_SEEN = {"app.config"}
CANNOT = "cannot change once the job exists; delete the job and apply it anew"


def mutable(path: str) -> bool:
    return any(f"spec.{path}.".startswith(f"{field}.") for field in MUTABLE)


def after(jobs: Asker, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
    return words(jobs.replace(new))


@pytest.fixture(scope="module")
def jobs(api: Api) -> Iterator[Asker]:
    applied(api).kubectl("create", "namespace", "changes")
    with asking(api.kubeconfig, "federatedjobs", "changes") as asker:
        yield asker


@pytest.fixture(scope="module")
def full(jobs: Asker) -> dict[str, Any]:
    fields = {path.replace(".", "__"): before for path, (before, _) in CHANGES.items()}
    answer = jobs.create(job("full", **copy.deepcopy(fields)), dry_run=False)
    assert answer.accepted, answer.causes
    return dict(answer.body)


@pytest.fixture(scope="module")
def bare(jobs: Asker) -> dict[str, Any]:
    return dict(jobs.create(job("bare"), dry_run=False).body)


class TestWhatMayChange:
    def test_no_field_is_forgotten(self) -> None:
        fields = {".".join(path) for path, node in FIELDS.items() if "properties" not in node}
        whole = (*APART, "server.expose.gatewayRef")
        assert {path for path in fields - CHANGES.keys() if not path.startswith(whole)} == NOT_SEEN

    def test_the_same_again_is_no_change(self, jobs: Asker, full: dict[str, Any]) -> None:
        assert jobs.replace(full).accepted

    @pytest.mark.parametrize("path", CHANGES)
    def test_a_changed_field_is_named(self, jobs: Asker, full: dict[str, Any], path: str) -> None:
        new = copy.deepcopy(full)
        put(new["spec"], tuple(path.split(".")), CHANGES[path][1])
        said = after(jobs, full, new)
        assert (f"spec.{path}: {CANNOT}" in said) == (not mutable(path))
        if mutable(path):
            assert jobs.replace(new).accepted

    @pytest.mark.parametrize("path", [path for path in CHANGES if path not in ("app.image", "app.client", "silos")])
    def test_a_field_taken_out_or_put_in_is_named(
        self, jobs: Asker, full: dict[str, Any], bare: dict[str, Any], path: str
    ) -> None:
        steps = tuple(path.split("."))
        less = {**copy.deepcopy(full), "spec": removed(copy.deepcopy(full["spec"]), steps)}
        more = copy.deepcopy(bare)
        put(more["spec"], steps, CHANGES[path][1])
        default = FIELDS[steps].get("default")
        before, later = CHANGES[path]
        assert (f"spec.{path}: {CANNOT}" in after(jobs, full, less)) == (not mutable(path) and before != default)
        assert (f"spec.{path}: {CANNOT}" in after(jobs, bare, more)) == (not mutable(path) and later != default)

    @pytest.mark.parametrize("path", APART)
    def test_fields_that_stand_apart_are_named_too(self, jobs: Asker, path: str) -> None:
        before, later = APART[path]
        rest: dict[str, Any] = {"silos": []} if path == "siloSelector" else {"rounds__stopWhen__metric": "loss"}
        rest |= {"rounds__quorum": 3, path.replace(".", "__"): before}
        answer = jobs.create(job(path.lower().replace(".", "-"), **rest), dry_run=False)
        assert answer.accepted, answer.causes
        old = dict(answer.body)
        new = copy.deepcopy(old)
        put(new["spec"], tuple(path.split(".")), later)
        assert after(jobs, old, new) == [f"spec.{path}: {CANNOT}"]
        assert f"spec.{path}: {CANNOT}" in after(
            jobs, old, {**old, "spec": removed(copy.deepcopy(old["spec"]), tuple(path.split(".")))}
        )
