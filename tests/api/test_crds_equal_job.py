"""The API server and the runtime give the same verdict on a manifest, and fill in the same defaults.

What differs, because a CustomResourceDefinition cannot say it or a cluster needs it, is at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from api.asking import Answer, Asker, asking
from api.crds import applied, job
from api.specs import FIELDS, ODD, right, with_one_thing_wrong
from hypothesis import event, given, settings
from hypothesis import strategies as st
from umbel_cluster.api import Api

from umbel import rules
from umbel.job import JobError, parse, resolve

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def jobs(api: Api) -> Iterator[Asker]:
    with asking(applied(api).kubeconfig, "federatedjobs") as asker:
        yield asker


def manifest(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "umbel.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": "j"}, "spec": spec}


def read(data: Mapping[str, Any]) -> Any:
    """The spec as the runtime has it before anything is computed, or the JobError."""
    try:
        parsed = parse(data)
        resolve(parsed)
    except JobError as error:
        return error
    return parsed.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]


def in_words(spec: Any) -> Any:
    """Quantities as strings: the API server leaves a whole number as it is. It also writes 2e16 as a whole number."""
    config = spec["app"]["config"]
    config.update({key: float(value) for key, value in config.items() if type(value) is int and abs(value) >= 2**53})
    for part in (spec["server"], *spec["silos"]):
        for amounts in part["resources"].values():
            amounts.update({name: str(amount) for name, amount in amounts.items()})
    checkpoint = spec["server"]["checkpoint"]
    checkpoint["size"] = str(checkpoint["size"])
    return spec


def differs(data: Mapping[str, Any]) -> bool:
    """A difference that is meant: see the end of this file."""
    spec = data["spec"]
    app = spec.get("app")
    return isinstance(app, dict) and app.get("image") is None


def hold_equal(data: Mapping[str, Any], answer: Answer) -> None:
    mine = read(data)
    if isinstance(mine, JobError):
        assert not answer.accepted, f"only the runtime refuses it: {mine}"
    else:
        assert answer.accepted, f"only the API server refuses it: {answer.causes}"
        assert in_words(dict(answer.body["spec"])) == in_words(mine)


@settings(max_examples=400)
@given(spec=right() | with_one_thing_wrong())
def test_any_job(jobs: Asker, spec: dict[str, Any]) -> None:
    data = manifest(spec)
    if differs(data):
        return
    answer = jobs.create(data)
    event("accepted" if answer.accepted else "refused")
    hold_equal(data, answer)


@pytest.mark.parametrize("path", sorted(FIELDS), ids=".".join)
def test_anything_at_a_field(jobs: Asker, path: tuple[str, ...]) -> None:
    for value in ODD:
        data = job(**{"__".join(path): value})
        if not differs(data):
            hold_equal(data, jobs.create(data))


@pytest.mark.parametrize("name", rules.BUILT_IN)
def test_every_parameter_at_its_bounds(jobs: Asker, name: str) -> None:
    needed = {"clientLearningRate": 1} if name == "q-FedAvg" else {}
    known = {key: rule for other in rules.BUILT_IN.values() for key, rule in other.parameters.items()}
    for key, rule in known.items():
        for value in (rule.low - 1e-3, rule.low, rule.low + 1e-3, rule.high - 1e-3, rule.high, rule.high + 1e-3):
            data = job(strategy={"name": name, "parameters": {**needed, key: value}})
            hold_equal(data, jobs.create(data))


@given(chosen=st.sampled_from(ODD), key=st.sampled_from(["a", "x" * 63]))
@settings(max_examples=60)
def test_any_value_of_config(jobs: Asker, chosen: Any, key: str) -> None:
    if chosen is not None:
        data = job(app__config={key: chosen})
        hold_equal(data, jobs.create(data))


@pytest.mark.parametrize("value", [2**63 - 1024, 2**63 - 1023, -(2**63), -1e19, 9.3e18, "é" * 4096, "é" * 4097, 0.1])
def test_the_bounds_of_config(jobs: Asker, value: Any) -> None:
    data = job(app__config={"a": value})
    hold_equal(data, jobs.create(data))


@pytest.mark.parametrize("length", [317, 318])
def test_the_length_of_keys(jobs: Asker, length: int) -> None:
    key = "x" * length
    silos = [{"name": name, "dataset": "d"} for name in "abc"]
    for part in ("requests", "limits"):
        for fields in (
            {f"server__resources__{part}": {key: 1}},
            {"silos": [{**silos[0], "resources": {part: {key: 1}}}, *silos[1:]]},
            {"silos": [], "siloSelector": {"matchLabels": {key: "a"}, "dataset": "d"}, "rounds__quorum": 3},
        ):
            data = job(**fields)
            hold_equal(data, jobs.create(data))


@pytest.mark.parametrize("name", ["a", "a" * 40, "a" * 41, "a.b", "A", "-a", "1-2"])
def test_the_name(jobs: Asker, name: str) -> None:
    data = job() | {"metadata": {"name": name}}
    hold_equal(data, jobs.create(data))


class TestWhatDiffers:
    """Where the API server takes what the runtime refuses, the operator ends the job as Failed with the words of the
    runtime."""

    def test_on_a_cluster_a_job_needs_an_image(self, jobs: Asker) -> None:
        data = job(app={"client": "a:b"})
        assert jobs.create(data).causes == ["spec.app.image: Required value"]
        assert not isinstance(read(data), JobError)

    @pytest.mark.parametrize(
        "fields",
        [
            {"app__config": {"": 1}},
            {"app__config": {"x" * 64: 1}},
            {"server__resources__limits": {"gpu!": 1}},
            {"silos": [], "siloSelector": {"matchLabels": {"a b": "c"}, "dataset": "d"}, "rounds__quorum": 3},
        ],
    )
    def test_the_keys_of_some_maps_are_not_checked(self, jobs: Asker, fields: dict[str, Any]) -> None:
        data = job(**fields)
        assert jobs.create(data).accepted
        assert "the key" in str(read(data))

    def test_null_in_a_map_is_nothing_to_the_api_server(self, jobs: Asker) -> None:
        data = job(app__config={"a": None, "b": 1})
        assert jobs.create(data).body["spec"]["app"]["config"] == {"b": 1}
        assert "is nothing (null)" in str(read(data))
