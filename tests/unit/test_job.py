"""What a FederatedJob may say, what it means where it is silent, and how it is told what is wrong."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from umbel import rules
from umbel.job import FederatedJob, JobError, load, mutable_while_running, parse, resolve
from umbel.risks import risks

MANIFEST: dict[str, Any] = {
    "apiVersion": "umbel.dev/v1alpha1",
    "kind": "FederatedJob",
    "metadata": {"name": "digits"},
    "spec": {
        "app": {"client": "digits.client:app"},
        "silos": [{"name": f"silo-{n}", "dataset": f"digits-{n}-of-5"} for n in range(1, 6)],
    },
}
REMOVED = object()


def manifest(**fields: Any) -> dict[str, Any]:
    """The manifest above with fields set by path (``spec__rounds__quorum=3``); REMOVED takes one out."""
    data = copy.deepcopy(MANIFEST)
    for path, value in fields.items():
        *parents, last = path.split("__")
        at = data
        for step in parents:
            at = at.setdefault(step, {})
        if value is REMOVED:
            del at[last]
        else:
            at[last] = value
    return data


def resolved(**fields: Any) -> FederatedJob:
    return resolve(parse(manifest(**fields)))


def refusal(**fields: Any) -> str:
    with pytest.raises(JobError) as caught:
        resolved(**fields)
    return str(caught.value)


def dumped(job: FederatedJob) -> Any:
    return job.model_dump(mode="json", by_alias=True, exclude_none=True)


class TestDefaults:
    def test_what_the_manifest_is_silent_about_has_the_documented_value(self) -> None:
        spec = resolved().spec
        assert dumped(resolved())["spec"]["rounds"] == {
            "total": 50,
            "updates": 5,
            "quorum": 4,
            "timeoutSeconds": 600,
            "gatherSeconds": 60,
            "graceSeconds": 60,
            "partialUpdates": "Rescale",
            "rescaleCap": 4,
            "selection": "Uniform",
            "maxConsecutiveAbandoned": 3,
            "stopWhen": {},
        }
        assert (spec.seed, spec.suspend, spec.active_deadline_seconds) == (0, False, 604_800)
        assert (spec.evaluation.every_rounds, spec.evaluation.timeout_seconds) == (1, 120)
        assert (spec.privacy.min_cohort, spec.privacy.min_examples) == (3, 11)
        assert (spec.limits.max_examples, spec.limits.max_abs) == (10**9, 1024.0)
        assert (spec.strategy.name, spec.strategy.weighting) == ("FedAvg", "Examples")
        assert (spec.model.initial.from_, spec.model.output.uri, spec.model.retain) == ("App", "", True)
        assert spec.server.checkpoint.size == "10Gi"
        assert spec.server.expose.type == "ClusterIP"
        assert spec.rounds.over_selection is None
        assert resolved().metadata.namespace == "default"

    @pytest.mark.parametrize(("silos", "quorum"), [(3, 3), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7), (1000, 667)])
    def test_the_quorum_is_two_thirds_rounded_up_and_at_least_the_cohort(self, silos: int, quorum: int) -> None:
        listed = [{"name": f"s{n}", "dataset": "d"} for n in range(silos)]
        assert resolved(spec__silos=listed).spec.rounds.quorum == quorum

    @pytest.mark.parametrize(("timeout", "grace"), [(1, 1), (10, 1), (25, 2.5), (600, 60), (3600, 60)])
    def test_grace_is_a_tenth_of_the_timeout_between_1_and_60_seconds(self, timeout: int, grace: float) -> None:
        assert resolved(spec__rounds__timeoutSeconds=timeout).spec.rounds.grace_seconds == grace

    def test_loss_is_always_released_from_0_to_100(self) -> None:
        metrics = resolved(spec__metrics=[{"name": "accuracy", "min": 0, "max": 1}]).spec.metrics
        assert {m.name: (m.min, m.max) for m in metrics} == {"loss": (0, 100), "accuracy": (0, 1)}

    def test_an_entry_named_loss_changes_its_range(self) -> None:
        (loss,) = resolved(spec__metrics=[{"name": "loss", "min": 0, "max": 5}]).spec.metrics
        assert (loss.name, loss.max) == ("loss", 5)

    def test_one_silo_alone_is_a_job_when_the_manifest_says_so(self) -> None:
        job = resolved(
            spec__silos=[{"name": "only", "dataset": "d"}], spec__privacy={"minCohort": 1, "allowSmallCohort": True}
        )
        assert (job.spec.rounds.updates, job.spec.rounds.quorum) == (1, 1)

    def test_null_counts_as_absent(self) -> None:
        assert resolved(spec__rounds=None, spec__managedBy=None) == resolved()

    def test_a_selector_leaves_the_updates_open(self) -> None:
        selector = {"matchLabels": {"example.org/ward": "chest"}, "dataset": "chest-ct"}
        job = resolved(spec__silos=REMOVED, spec__siloSelector=selector, spec__rounds={"quorum": 3})
        assert (job.spec.rounds.updates, job.spec.rounds.quorum, job.spec.silos) == (None, 3, ())

    def test_parts_for_kubernetes_and_the_status_are_taken_as_they_are(self) -> None:
        job = resolved(
            metadata__labels={"app.kubernetes.io/name": "x"},
            metadata__uid="123",
            spec__ttlSecondsAfterFinished=0,
            spec__managedBy="kueue.x-k8s.io/multikueue",
            spec__server={
                "resources": {"limits": {"cpu": 2, "memory": "1.5Gi", "nvidia.com/gpu": "1"}},
                "imagePullSecrets": [{"name": "pull"}],
                "checkpoint": {"size": "20Gi", "storageClassName": "fast", "accessModes": ["ReadWriteOncePod"]},
                "expose": {"type": "Gateway", "host": "fl.example.org", "gatewayRef": {"name": "edge"}},
            },
            status={"conditions": [{"type": "Complete"}], "anything": datetime.date(2026, 1, 1)},
        )
        assert job.spec.server.resources.limits["cpu"] == "2"
        assert "status" not in dumped(job)

    def test_nothing_can_be_assigned(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            resolved().spec.rounds.total = 3


class TestStrategies:
    def test_each_rule_gets_its_parameters(self) -> None:
        needed = {"q-FedAvg": {"clientLearningRate": 0.1}}
        parameters = {
            name: dict(
                resolved(spec__strategy={"name": name, "parameters": needed.get(name, {})}).spec.strategy.parameters
            )
            for name in rules.BUILT_IN
        }
        assert parameters == {
            "FedAvg": {"serverLearningRate": 1},
            "FedAvgM": {"serverLearningRate": 1, "momentum": 0.9},
            "FedAdagrad": {"serverLearningRate": 0.1, "beta1": 0, "tau": 0.001},
            "FedYogi": {"serverLearningRate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 0.001},
            "FedAdam": {"serverLearningRate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 0.001},
            "FedProx": {"serverLearningRate": 1, "mu": 0.01},
            "FedNova": {"serverLearningRate": 1, "momentum": 0, "mu": 0, "clientLearningRate": 0, "cap": 4},
            "q-FedAvg": {"serverLearningRate": 1, "q": 1, "clientLearningRate": 0.1},
        }

    def test_what_a_rule_forces_is_the_default_under_it(self) -> None:
        nova = resolved(spec__strategy={"name": "FedNova"}).spec
        fair = resolved(spec__strategy={"name": "q-FedAvg", "parameters": {"clientLearningRate": 0.1}}).spec
        assert (nova.rounds.partial_updates, nova.rounds.selection, nova.strategy.weighting) == (
            "AsIs",
            "Uniform",
            "Examples",
        )
        assert (fair.rounds.partial_updates, fair.rounds.selection, fair.strategy.weighting) == (
            "Rescale",
            "ByExamples",
            "Uniform",
        )

    def test_what_a_rule_forces_may_be_said(self) -> None:
        assert resolved(spec__strategy={"name": "FedNova"}, spec__rounds={"partialUpdates": "AsIs"})

    def test_the_opposite_said_explicitly_is_refused(self) -> None:
        text = refusal(spec__strategy={"name": "FedNova"}, spec__rounds={"partialUpdates": "Rescale"})
        assert (
            text == "spec.rounds.partialUpdates: Rescale does not go with strategy FedNova; use AsIs, or leave it out"
        )
        text = refusal(
            spec__strategy={"name": "q-FedAvg", "parameters": {"clientLearningRate": 1}, "weighting": "Examples"},
            spec__rounds={"selection": "Uniform"},
        )
        assert "spec.rounds.selection: " in text
        assert "spec.strategy.weighting: " in text

    def test_a_class_of_ones_own_takes_any_numbers(self) -> None:
        strategy = resolved(spec__strategy={"name": "my.rules:Fancy", "parameters": {"x": -3, "y": 0.5}}).spec.strategy
        assert (dict(strategy.parameters), strategy.weighting) == ({"x": -3, "y": 0.5}, "Examples")


RULE = {"spec__strategy__name": "FedAvgM"}
SILO = {"name": "a", "dataset": "d"}
ONE_TO_FIVE = {"name": "x", "min": 1, "max": 5}

REFUSED: list[tuple[dict[str, Any], str]] = [
    # how many
    (
        {"spec__rounds": {"quorum": 7, "updates": 5}},
        "spec.rounds.quorum: 7 is more than spec.rounds.updates (5); use at most 5, or raise spec.rounds.updates",
    ),
    ({"spec__rounds__quorum": 6}, "spec.rounds.quorum: 6 is more than the number of spec.silos (5); use at most 5"),
    ({"spec__rounds__updates": 6}, "spec.rounds.updates: 6 is more than the number of spec.silos (5)"),
    ({"spec__rounds__quorum": 2}, "spec.privacy.minCohort: 3 is more than spec.rounds.quorum (2)"),
    ({"spec__rounds__updates": 2}, "spec.privacy.minCohort: 3 is more than spec.rounds.updates (2)"),
    ({"spec__silos": [SILO]}, "spec.privacy.minCohort: 3 is more than the number of spec.silos (1); list more silos"),
    ({"spec__privacy__minCohort": 2}, "spec.privacy.minCohort: 2 is less than 3; use at least 3, or set"),
    (
        {"spec__silos": [SILO, {**SILO, "name": "b"}, {**SILO, "name": "c"}, SILO]},
        "spec.silos[3]: 'a' is already spec.silos[0]; keep one of them",
    ),
    ({"spec__silos": REMOVED}, "spec.silos: is missing, and so is spec.siloSelector"),
    ({"spec__silos": []}, "spec.silos: is missing, and so is spec.siloSelector"),
    (
        {"spec__siloSelector": {"matchLabels": {"a": "b"}, "dataset": "d"}, "spec__rounds__quorum": 3},
        "spec.siloSelector: is given as well as spec.silos; keep one of the two",
    ),
    (
        {"spec__silos": REMOVED, "spec__siloSelector": {"matchLabels": {"a": "b"}, "dataset": "d"}},
        "spec.rounds.quorum: is missing; with spec.siloSelector",
    ),
    ({"spec__silos": [{**SILO, "name": f"s{n}"} for n in range(1001)]}, "spec.silos: has 1001 entries; keep at most"),
    # strategy
    ({"spec__strategy__name": "FedAvgg"}, "spec.strategy.name: unknown strategy 'FedAvgg'; did you mean FedAvg?"),
    ({"spec__strategy__name": "a:b\n"}, "spec.strategy.name: unknown strategy 'a:b\\n'; use one of FedAvg, "),
    (
        {"spec__strategy__parameters__mu": 1},
        "spec.strategy.parameters.mu: unknown parameter of FedAvg; use one of serverLearningRate",
    ),
    ({**RULE, "spec__strategy__parameters__momentum": 1}, "momentum: 1 is not less than 1; use less than 1"),
    ({**RULE, "spec__strategy__parameters__momentum": -1}, "momentum: -1 is less than 0; use at least 0"),
    ({**RULE, "spec__strategy__parameters__serverLearningRate": 0}, "Rate: 0 is not more than 0; use more than 0"),
    ({"spec__strategy": {"name": "FedNova", "parameters": {"cap": 101}}}, "cap: 101 is more than 100; use at most 100"),
    ({"spec__strategy__name": "q-FedAvg"}, "spec.strategy.parameters.clientLearningRate: is missing"),
    (
        {"spec__strategy": {"name": "a:b", "parameters": {"x" * 64: 1}}},
        f"spec.strategy.parameters: the key '{'x' * 46}…: has 64 characters; use at most 63",
    ),
    ({"spec__strategy__parameters__serverLearningRate": "1"}, "Rate: '1' is a string, not a number"),
    # metrics
    ({"spec__metrics": [{**ONE_TO_FIVE, "max": 1}]}, "spec.metrics[0].min: 1 is not below max (1); use a min below"),
    ({"spec__metrics": [ONE_TO_FIVE, ONE_TO_FIVE]}, "spec.metrics[1]: 'x' is already spec.metrics[0]"),
    ({"spec__metrics": [{**ONE_TO_FIVE, "name": f"m{n}"} for n in range(17)]}, "spec.metrics: has 17 entries besides"),
    ({"spec__metrics": [{"name": "x", "min": 0}]}, "spec.metrics[0].max: is missing; add it: Larger values"),
    (
        {"spec__rounds__stopWhen": {"metric": "accuracy", "atLeast": 0.9}},
        "spec.rounds.stopWhen.metric: 'accuracy' is not in spec.metrics; declare it in spec.metrics",
    ),
    ({"spec__rounds__stopWhen": {"metric": "loss"}}, "spec.rounds.stopWhen: has none of atLeast, atMost, plateau"),
    (
        {"spec__rounds__stopWhen": {"metric": "loss", "atMost": 1, "atLeast": 0}},
        "spec.rounds.stopWhen: has atLeast and atMost; give exactly one",
    ),
    ({"spec__rounds__stopWhen": {"atMost": 1}}, "spec.rounds.stopWhen.metric: is missing, and atMost is given"),
    (
        {"spec__rounds__stopWhen": {"metric": "loss", "atLeast": 101}},
        "spec.rounds.stopWhen.atLeast: 101 is outside the range of loss (0 to 100)",
    ),
    ({"spec__rounds__stopWhen": {"metric": "loss", "plateau": {}}}, "stopWhen.plateau.patience: is missing; add it"),
    # config
    ({"spec__app__config": {f"k{n}": n for n in range(65)}}, "spec.app.config: has 65 entries; keep at most 64"),
    ({"spec__app__config": {"sizes": [1, 2]}}, "spec.app.config.sizes: is a list; use a number, a string or a boolean"),
    ({"spec__app__config": {"a": {"b": 1}}}, "spec.app.config.a: is a mapping; use a number"),
    ({"spec__app__config": {"a": None}}, "spec.app.config.a: is nothing (null); use a number"),
    ({"spec__app__config": {"a": math.nan}}, "spec.app.config.a: nan is not finite; use a finite number"),
    ({"spec__app__config": {"a": 2**63 - 1023}}, "spec.app.config.a: does not fit into 64 bits"),
    ({"spec__app__config": {"a": -1e19}}, "spec.app.config.a: does not fit into 64 bits"),
    ({"spec__app__config": {"a": "x" * 4097}}, "spec.app.config.a: has 4097 characters"),
    ({"spec__app__config": {"": 1}}, "spec.app.config: the key '': has 0 characters; use at least 1"),
    # names and forms
    ({"metadata__name": "Digits"}, "metadata.name: 'Digits' is not a DNS label; use lower-case letters"),
    ({"metadata__name": "a.b"}, "metadata.name: 'a.b' is not a DNS label"),
    ({"metadata__name": "digits\n"}, "metadata.name: 'digits\\n' is not a DNS label"),
    ({"metadata__name": "x" * 41}, "metadata.name: has 41 characters; use at most 40"),
    ({"metadata__name": REMOVED}, "metadata.name: is missing; add it: Name of the job"),
    ({"metadata__namespace": "a_b"}, "metadata.namespace: 'a_b' is not a DNS label"),
    ({"metadata__labels": {"a/b": 1}}, "metadata.labels[a/b]: 1 is a number; put it in quotes"),
    ({"spec__silos": [{**SILO, "name": "-a"}]}, "spec.silos[0].name: '-a' is not a DNS label"),
    ({"spec__silos": [{**SILO, "name": "a" * 64}]}, "spec.silos[0].name: has 64 characters; use at most 50"),
    ({"spec__silos": [{"name": "a"}]}, "spec.silos[0].dataset: is missing; add it"),
    ({"spec__app__client": "digits.client"}, "spec.app.client: 'digits.client' is not of the form module:object"),
    ({"spec__app__client": "a/b.py:app"}, "spec.app.client: 'a/b.py:app' is not of the form module:object"),
    ({"spec__app": {}}, "spec.app.client: is missing; add it: The umbel.Client, as module:object"),
    ({"spec__app__image": "x@sha256:12"}, "spec.app.image: 'x@sha256:12' is not an image reference"),
    ({"apiVersion": "umbel.dev/v1"}, "apiVersion: is 'umbel.dev/v1'; write umbel.dev/v1alpha1"),
    ({"kind": "Job"}, "kind: is 'Job'; write FederatedJob"),
    ({"kind": REMOVED}, "kind: is missing; add it: FederatedJob"),
    ({"spec": REMOVED}, "spec: is missing; add it: What the job is to do"),
    ({"spec__managedBy": "kueue"}, "spec.managedBy: 'kueue' is not a controller's name"),
    # unknown
    ({"spec__rounds__quorun": 3}, "spec.rounds.quorun: unknown field; did you mean quorum?"),
    ({"spec__round": {}}, "spec.round: unknown field; did you mean rounds?"),
    (
        {"spec__silos": [{**SILO, "host": "x"}]},
        "spec.silos[0].host: unknown field; use one of name, dataset, resources",
    ),
    ({"sepc": {}}, "sepc: unknown field; did you mean spec?"),
    # kinds and bounds of numbers
    ({"spec__rounds__total": True}, "spec.rounds.total: true is a boolean, not a number; write a whole number"),
    ({"spec__rounds__total": 1.5}, "spec.rounds.total: 1.5 is not a whole number; write a whole number"),
    ({"spec__rounds__total": "5"}, "spec.rounds.total: '5' is a string, not a number"),
    ({"spec__rounds__total": -1}, "spec.rounds.total: -1 is less than 0; use at least 0"),
    ({"spec__rounds__total": 100_001}, "spec.rounds.total: 100001 is more than 100000; use at most 100000"),
    ({"spec__rounds__overSelection": 0.9}, "spec.rounds.overSelection: 0.9 is less than 1; use at least 1"),
    (
        {"spec__rounds__graceSeconds": 601},
        "spec.rounds.graceSeconds: 601 is more than spec.rounds.timeoutSeconds (600)",
    ),
    ({"spec__limits__maxAbs": True}, "spec.limits.maxAbs: true is a boolean, not a number"),
    ({"spec__limits__maxAbs": math.inf}, "spec.limits.maxAbs: inf is not finite; use a finite number"),
    ({"spec__limits__maxAbs": 0}, "spec.limits.maxAbs: 0 is not more than 0; use more than 0"),
    ({"spec__limits__maxExamples": 0}, "spec.limits.maxExamples: 0 is less than 1"),
    ({"spec__seed": 2**32}, "spec.seed: 4294967296 is more than 4294967295"),
    ({"spec__seed": 10**4999}, "spec.seed: a number of more than 38 digits is more than"),
    ({"spec__suspend": 1}, "spec.suspend: 1 is a number; write true or false"),
    # kinds of value
    ({"spec__rounds": []}, "spec.rounds: is a list; write a mapping (key: value)"),
    ({"spec__silos": {"a": "d"}}, "spec.silos: is a mapping; write a list"),
    ({"spec__silos": ["a"]}, "spec.silos[0]: is a string; write a mapping"),
    ({"spec__app__client": True}, "spec.app.client: true is a boolean, as are yes, no, on and off in YAML; put it in"),
    (
        {"spec__rounds__partialUpdates": "asis"},
        "spec.rounds.partialUpdates: is 'asis', not one of Rescale, AsIs, Refuse",
    ),
    (
        {"spec__app__config": {True: 1}},
        "spec.app.config: the key true is a boolean, as are yes, no, on and off in YAML",
    ),
    (
        {"spec__app__config": {"d": datetime.date(2026, 1, 2)}},
        "spec.app.config.d: 2026-01-02 is a date in YAML; put it",
    ),
    # Kubernetes
    ({"spec__server__checkpoint__size": "10 GB"}, "spec.server.checkpoint.size: '10 GB' is not a quantity; write it"),
    ({"spec__server__resources__limits": {"cpu": 0.5}}, "spec.server.resources.limits.cpu: 0.5 is a number; put it in"),
    ({"spec__server__resources__limits": {"cpu": 2**63}}, "limits.cpu: 9223372036854775808 is a number; put it in"),
    ({"spec__server__resources__limits": {"cpu": "-1"}}, "spec.server.resources.limits.cpu: '-1' is not a quantity"),
    (
        {"spec__server__expose__type": "Gateway"},
        "spec.server.expose.gatewayRef: is missing; spec.server.expose.type is",
    ),
    ({"spec__server__expose__gatewayRef": {"name": "g"}}, "spec.server.expose.gatewayRef: is given, but"),
    ({"spec__server__checkpoint__accessModes": ["ReadOnce"]}, "accessModes[0]: is 'ReadOnce', not one of"),
    ({"spec__server__checkpoint__accessModes": []}, "accessModes: has 0 entries; give at least 1"),
    # model
    ({"spec__model__initial": {"from": "Checkpoint"}}, "spec.model.initial.uri: is missing; `from` is Checkpoint"),
    ({"spec__model__initial": {"uri": "/m"}}, "spec.model.initial.uri: is given, but `from` is App"),
    ({"spec__model__output__uri": "s3://key:secret@host/m"}, "spec.model.output.uri: has a password in it"),
    ({"spec__model__output__uri": "s3://a b"}, "spec.model.output.uri: 's3://a b' is not a URI"),
    ({"spec__model__localParameters": ["*"]}, "spec.model.localParameters: '*' keeps every parameter in its silo"),
    ({"spec__model__localParameters": ["a.*", "a.*"]}, "spec.model.localParameters[1]: 'a.*' is already"),
    ({"spec__model__localParameters": ["a b"]}, "spec.model.localParameters[0]: 'a b' is not a pattern"),
]


class TestRefusals:
    @pytest.mark.parametrize(("fields", "words"), REFUSED, ids=[words[:60] for _, words in REFUSED])
    def test_one_line_says_field_fault_and_remedy(self, fields: dict[str, Any], words: str) -> None:
        text = refusal(**fields)
        assert words in text
        assert "\n" not in text

    def test_every_fault_has_its_line(self) -> None:
        text = refusal(spec__rounds={"total": -1, "quorun": 3}, metadata__name="A")
        assert sorted(line.split(":")[0] for line in text.splitlines()) == [
            "metadata.name",
            "spec.rounds.quorun",
            "spec.rounds.total",
        ]
        text = refusal(spec__rounds={"quorum": 9}, spec__strategy__name="nope", spec__model__localParameters=["*"])
        assert len(text.splitlines()) == 3

    @pytest.mark.parametrize("data", [None, [], "job", 3])
    def test_a_manifest_is_a_mapping(self, data: Any) -> None:
        with pytest.raises(JobError, match=r"^the manifest: is .*; write a mapping with apiVersion"):
            parse(data)


class TestFiles:
    def write(self, folder: Path, text: str | bytes) -> Path:
        path = folder / "job.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def test_a_manifest_is_read_from_yaml(self, tmp_path: Path) -> None:
        assert load(self.write(tmp_path, yaml.safe_dump(MANIFEST))) == parse(MANIFEST)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e6", 1_000_000),
            ("1.0", 1),
            ("1.5", 1.5),
            ("-.5", -0.5),
            ("10:30", "10:30"),
            ("1_000", 1000),
            ("0x10", 16),
            ("0o17", 15),
            ("on", True),
            ("'2026-01-01'", "2026-01-01"),
            ("1.2.3", "1.2.3"),
        ],
    )
    def test_scalars_mean_what_they_mean_to_kubectl(self, tmp_path: Path, text: str, value: object) -> None:
        marked = yaml.safe_dump(manifest(spec__app__config={"x": "MARK"})).replace("MARK", text)
        read = load(self.write(tmp_path, marked)).spec.app.config["x"]
        assert (read, type(read)) == (value, type(value))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("- 1", "the manifest: is a list; write a mapping"),
            ("", "the manifest: is nothing (null); write a mapping"),
            ("a: [1", "line 1, column 6: expected ',' or ']', but got '<stream end>'; mend the YAML there"),
            ("a: 1\na: 2", "line 2, column 1: the key a is given twice; mend the YAML there"),
            ("a: 1\n---\nb: 2", "line 2, column 1: a second document begins; one file holds one job"),
            ("a: !!python/object:os.system x", "could not determine a constructor for the tag"),
            ("a: " + "9" * 5000, "holds a value that cannot be read"),
            ("[" * 5000, "is nested too deeply"),
            (b"\xff\xfe\x00", "is not UTF-8 text; save it as UTF-8"),
            ("#" * (1 << 20) + "\n", "is larger than 1 MiB"),
            ("on: 1", "the manifest: the key true is a boolean, as are yes, no, on and off in YAML"),
            ("metadata: {1: x}", "metadata: the key 1 is not a string; put the key in quotes"),
            ("spec: &s {app: *s}", "spec.app: holds itself; write it out without a YAML alias"),
            ("spec: " + "{a: " * 40 + "1" + "}" * 40, "is nested too deeply; use the fields of a FederatedJob"),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_what_is_no_manifest_is_refused(self, tmp_path: Path, text: str | bytes, words: str) -> None:
        with pytest.raises(JobError) as caught:
            load(self.write(tmp_path, text))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_anchor_used_exponentially_often_costs_nothing(self, tmp_path: Path) -> None:
        levels = "".join(f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
        with pytest.raises(JobError, match=r"spec\.a29: "):
            load(self.write(tmp_path, "spec:\n  a0: &a0 [1, 1]\n" + levels))

    def test_a_missing_file_and_a_folder_are_said_to_be_so(self, tmp_path: Path) -> None:
        with pytest.raises(JobError, match=r"none\.yaml: no such file; name the manifest of a FederatedJob"):
            load(tmp_path / "none.yaml")
        with pytest.raises(JobError, match="cannot be read"):
            load(tmp_path)


class TestChangesWhileRunning:
    def changed(self, **fields: Any) -> list[str]:
        return mutable_while_running(parse(MANIFEST), parse(manifest(**fields)))

    def test_some_fields_may_change(self) -> None:
        assert not self.changed(
            spec__suspend=True,
            spec__rounds={"total": 3},
            spec__activeDeadlineSeconds=5,
            spec__ttlSecondsAfterFinished=5,
            spec__model={"retain": False, "output": {"uri": "s3://a/b"}},
            spec__silos=MANIFEST["spec"]["silos"][:3],
            metadata__labels={"a": "b"},
        )

    def test_all_others_are_named(self) -> None:
        assert self.changed(
            spec__seed=1,
            spec__rounds={"total": 3, "quorum": 3},
            spec__app__config={"lr": 0.1},
            spec__model={"localParameters": ["head.*"], "initial": {"from": "Checkpoint", "uri": "/m"}},
            spec__privacy={"minExamples": 12},
        ) == [
            "spec.app.config",
            "spec.model.initial.from",
            "spec.model.initial.uri",
            "spec.model.localParameters",
            "spec.privacy.minExamples",
            "spec.rounds.quorum",
            "spec.seed",
        ]


class TestRisks:
    def fields(self, **fields: Any) -> set[str]:
        return {risk.field for risk in risks(resolved(**fields))}

    def test_the_defaults_are_not_risky(self) -> None:
        assert self.fields() == set()

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"spec__privacy": {"minCohort": 2, "allowSmallCohort": True}}, "spec.privacy.minCohort"),
            ({"spec__privacy__minExamples": 10}, "spec.privacy.minExamples"),
            ({"spec__privacy__allowIndividualRelease": True}, "spec.privacy.allowIndividualRelease"),
            ({"spec__rounds__quorum": 5}, "spec.rounds.quorum"),
            ({"spec__rounds__graceSeconds": 301}, "spec.rounds.graceSeconds"),
            ({"spec__evaluation__everyRounds": 0}, "spec.evaluation.everyRounds"),
            ({"spec__model__retain": False}, "spec.model.retain"),
            ({"spec__app__image": "example.org/app:1"}, "spec.app.image"),
            ({"spec__activeDeadlineSeconds": 60}, "spec.activeDeadlineSeconds"),
        ],
    )
    def test_a_risky_setting_is_named(self, fields: dict[str, Any], field: str) -> None:
        assert self.fields(**fields) == {field}

    def test_a_stop_that_no_evaluation_reaches_is_named(self) -> None:
        stop = {"metric": "loss", "atMost": 1}
        assert "spec.rounds.stopWhen" in self.fields(spec__rounds__stopWhen=stop, spec__evaluation__everyRounds=0)


def parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for part in model.__subclasses__():
        yield from parts(part)


def test_every_field_is_described() -> None:
    silent = [
        f"{part.__name__}.{name}"
        for part in parts(FederatedJob.__bases__[0])
        for name, field in part.model_fields.items()
        if not field.description
    ]
    assert silent == []


def test_every_number_and_text_is_bounded() -> None:
    """The JSON schema of the models is what a CustomResourceDefinition has to say as well."""
    schema = FederatedJob.model_json_schema(by_alias=True)
    unbounded = [
        f"{part}.{name}"
        for part, body in schema["$defs"].items()
        for name, field in body["properties"].items()
        for kind in [field, *field.get("anyOf", [])]
        if (kind.get("type") == "integer" and not {"minimum", "maximum"} <= kind.keys())
        or (kind.get("type") == "array" and "maxItems" not in kind)
        or (kind.get("type") == "string" and not {"maxLength", "enum", "const"} & kind.keys())
    ]
    assert unbounded == []


counts = st.integers(1, 12)


@given(silos=counts, updates=st.none() | counts, quorum=st.none() | counts, cohort=counts, timeout=st.integers(1, 700))
def test_what_is_accepted_keeps_the_order_of_the_counts(
    silos: int, updates: int | None, quorum: int | None, cohort: int, timeout: int
) -> None:
    """minCohort ≤ quorum ≤ updates ≤ silos holds for all that resolve lets through, and it refuses nothing else."""
    data = manifest(
        spec__silos=[{"name": f"s{n}", "dataset": "d"} for n in range(silos)],
        spec__rounds={"updates": updates, "quorum": quorum, "timeoutSeconds": timeout},
        spec__privacy={"minCohort": cohort, "allowSmallCohort": True},
    )
    wanted = updates or silos
    possible = cohort <= (quorum or wanted) <= wanted <= silos
    if not possible:
        with pytest.raises(JobError):
            resolve(parse(data))
        return
    rounds = resolve(parse(data)).spec.rounds
    assert rounds.updates is not None
    assert rounds.quorum is not None
    assert rounds.grace_seconds is not None
    assert cohort <= rounds.quorum <= rounds.updates <= silos
    assert 1 <= rounds.grace_seconds <= min(60, max(1, timeout))
    assert rounds.updates == wanted
    assert quorum in (None, rounds.quorum)


scalars = (
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-9e18, 9e18)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
)


@given(
    config=st.dictionaries(st.text("abcXYZ_.-/é 0", min_size=1, max_size=10), scalars, max_size=8),
    name=st.sampled_from(sorted(set(rules.BUILT_IN) - {"q-FedAvg"})),
)
def test_a_resolved_job_written_out_is_the_same_job(config: dict[str, Any], name: str) -> None:
    job = resolved(spec__app__config=config, spec__strategy__name=name)
    again = parse(yaml.safe_load(yaml.safe_dump(dumped(job))))
    assert resolve(again) == resolve(job) == job


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)
PATHS = sorted(
    {f"spec__{name}" for name in ("app", "model", "strategy", "rounds", "metrics", "silos", "server", "siloSelector")}
    | {"metadata", "status", "kind", "spec", "extra", "spec__app__config", "spec__silos", "spec__rounds__stopWhen"}
    | {"spec__model__localParameters", "spec__server__resources__limits", "metadata__labels", "spec__metrics"}
)


@given(path=st.sampled_from(PATHS), value=anything)
def test_whatever_stands_there_is_accepted_or_refused_in_words(path: str, value: Any) -> None:
    try:
        resolved(**{path: value})
    except JobError as error:
        for line in str(error).splitlines():
            field, _, rest = line.partition(": ")
            assert field
            assert "; " in rest
            assert "validation error" not in line
