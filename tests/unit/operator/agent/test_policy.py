"""What a silo lets run: what its site file names, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.agent.silo import IMAGE, client, site_file

from umbel_operator.agent.policy import decide

ALLOWED = "PolicyAllows"


def reason(policy: dict[str, Any] | None = None, *, site: dict[str, Any] | None = None, **spec: Any) -> str:
    parts = {**({"policy": {"images": ["*"], **policy}} if policy is not None else {}), **(site or {})}
    return decide(client(**spec), site_file(**parts)).reason


def test_an_image_that_a_pattern_names_is_allowed() -> None:
    assert reason() == ALLOWED


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], "ImageNotAllowed"),
        (["*"], ALLOWED),
        ([IMAGE], ALLOWED),
        (["registry.example.org/acme/*"], ALLOWED),
        (["*@sha256:*"], ALLOWED),
        (["registry.example.org/acme/ct"], "ImageNotAllowed"),
        (["REGISTRY.example.org/*"], "ImageNotAllowed"),
        (["acme/*", "registry.example.org/*"], ALLOWED),
    ],
)
def test_images(patterns: list[str], expected: str) -> None:
    assert reason({"images": patterns}) == expected


def test_without_a_policy_nothing_runs() -> None:
    assert reason(site={"policy": {}}) == "ImageNotAllowed"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"clients": ["ct.*"]}, ALLOWED),
        ({"clients": ["other.*"]}, "ClientNotAllowed"),
        ({"namespaces": ["default", "team-*"]}, ALLOWED),
        ({"namespaces": ["team-*"]}, "NamespaceNotAllowed"),
        ({"jobs": ["digits"]}, ALLOWED),
        ({"jobs": ["ct-*"]}, "JobNotAllowed"),
        ({"jobs": []}, "JobNotAllowed"),
    ],
)
def test_clients_namespaces_and_jobs(policy: dict[str, Any], expected: str) -> None:
    assert reason(policy) == expected


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({}, ALLOWED),
        ({"jobs": ["digits"], "namespaces": ["default"]}, ALLOWED),
        ({"jobs": ["ct"]}, "DatasetNotAllowed"),
        ({"namespaces": ["team"]}, "DatasetNotAllowed"),
    ],
)
def test_datasets(dataset: dict[str, Any], expected: str) -> None:
    assert reason(site={"datasets": {"named": dataset}}) == expected


def test_a_dataset_that_the_silo_does_not_have() -> None:
    assert reason(dataset="elsewhere") == "UnknownDataset"


def test_a_client_of_another_silo() -> None:
    assert reason(silo="hospital-b") == "OtherSilo"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ALLOWED),
        ({"limits": {"cpu": "4", "memory": "8Gi"}}, ALLOWED),
        ({"limits": {"cpu": "4000m"}}, ALLOWED),
        ({"limits": {"cpu": "4001m"}}, "OverCeiling"),
        ({"requests": {"memory": "9Gi"}}, "OverCeiling"),
        ({"limits": {"memory": "8589934592"}}, ALLOWED),
        ({"limits": {"memory": "8589934593"}}, "OverCeiling"),
        ({"limits": {"nvidia.com/gpu": "1"}}, "OverCeiling"),
        ({"limits": {"ephemeral-storage": "1Ti"}}, ALLOWED),
        ({"limits": {"cpu": "many"}}, "InvalidSpec"),
    ],
)
def test_ceilings(asked: dict[str, Any], expected: str) -> None:
    pods = {"ceilings": {"cpu": 4, "memory": "8Gi", "nvidia.com/gpu": 0}}
    assert reason(site={"pods": pods}, resources=asked) == expected


def test_a_refusal_tells_nothing_of_the_site_but_the_ceiling() -> None:
    policy = {"images": ["secret.example.org/*"], "clients": ["hidden.*"]}
    for name in ("elsewhere", "named"):
        said = decide(client(dataset=name), site_file(policy=policy)).message
        assert "secret" not in said
        assert "hidden" not in said


@given(st.text("ab/:@.*", min_size=1, max_size=12))
def test_only_a_star_that_is_written_out_allows_everything(image: str) -> None:
    spec = {"app": {"image": image, "client": "ct.client:app"}}
    assert reason({"images": ["a"]}, **spec) == (ALLOWED if image == "a" else "ImageNotAllowed")
    assert reason({"images": ["*"]}, **spec) == ALLOWED
