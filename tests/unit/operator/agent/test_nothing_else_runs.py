"""No sequence of edits at the hub, whoever makes them, has anything run that the silo does not allow: on any backend,
by a policy that approves by itself or by an administrator's word. What is allowed, `allows` below says anew."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from unit.operator.agent.bench import PROCESS, SLURM, Machine, Queue
from unit.operator.agent.silo import IMAGE, NAME, UID, World, site_file

from umbel_operator.agent import federatedclient
from umbel_operator.agent.approvals.decision import answered
from umbel_operator.agent.approvals.request import request_of
from umbel_operator.agent.backends.process.holding import Start
from umbel_operator.agent.backends.slurm.holding import Submit

Object = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """Something that runs: its arguments, the job that it is labelled with, and what it was given."""

    words: tuple[str, ...]
    uid: str
    cpus: float
    image: str | None = None


class Silo(Protocol):
    fc: Object
    answers: Any
    now: float
    gone: bool

    def change(self, **spec: Any) -> None: ...
    def sign(self) -> None: ...
    def one_pass(self) -> Any: ...
    def running(self) -> Iterator[Seen]: ...


class Cluster(World):
    def __init__(self, folder: Path, site: Object) -> None:
        super().__init__(folder, site_file(**site))

    def running(self) -> Iterator[Seen]:
        for (kind, _), obj in self.objects.items():
            if kind == "Deployment" and obj["spec"]["replicas"]:
                (container,) = obj["spec"]["template"]["spec"]["containers"]
                cpus = float(container["resources"]["limits"]["cpu"])
                words, uid = tuple(container["args"]), obj["metadata"]["labels"]["umbel.dev/job-uid"]
                yield Seen(words, uid, cpus, container["image"])


class Desk(Machine):
    def __init__(self, folder: Path, site: Object) -> None:
        super().__init__(folder, **site, process=PROCESS)
        self.starts: dict[str, Start] = {}

    def do(self, action: object, steps: Any) -> None:
        if isinstance(action, Start):
            self.starts[action.attempt.token] = action
        super().do(action, steps)

    def running(self) -> Iterator[Seen]:
        for token in self.alive:
            start = self.starts[token]
            yield Seen(start.command, _uid(start.folder), float(start.environment["OMP_NUM_THREADS"]))


class Centre(Queue):
    def __init__(self, folder: Path, site: Object) -> None:
        super().__init__(folder, **site, slurm=SLURM)
        self.submits: dict[str, Submit] = {}

    def do(self, action: object, steps: Any) -> None:
        super().do(action, steps)
        if isinstance(action, Submit):
            self.submits[action.options.name] = action
            self.become(self.jobs[-1].id, "RUNNING", started=self.now)  # what waits does not use up its time

    def running(self) -> Iterator[Seen]:
        for job in self.active:
            submit = self.submits[job.name]
            words = tuple(shlex.split(submit.script.splitlines()[-1]))
            yield Seen(words, _uid(submit.folder), float(submit.options.cpus_per_task or 1))


def _uid(folder: Path) -> str:
    return folder.name.removeprefix(f"{NAME}-")


KINDS: list[type[Cluster] | type[Desk] | type[Centre]] = [Cluster, Desk, Centre]

# ---- what the silo allows

TAG, ELSEWHERE = "registry.example.org/acme/ct:1", "evil.example.org/x@sha256:" + "0" * 64
OTHER_IMAGE, AROUND = IMAGE[:-1] + "1", "registry.example.org/acme/../x@sha256:" + "0" * 64
AMOUNTS = {"1": 1, "2": 2, "3": 3, "1Gi": 1, "4Gi": 4, "5Gi": 5}
UNREADABLE = {"../x", "Hibernating", "many", "86400", AROUND}  # of any field
BASE: Object = {
    "silo": "hospital-a",
    "policy": {
        "approval": "Auto",
        "images": ["registry.example.org/acme/*"],
        "clients": ["ct.*"],
        "namespaces": ["default"],
        "jobs": ["digits"],
    },
    "datasets": {"named": {}},
}


def patterns(*each: list[str]) -> st.SearchStrategy[list[str]]:
    return st.sampled_from(each)


POLICIES = st.fixed_dictionaries(
    {
        "approval": st.sampled_from(["Auto", "Manual"]),
        "images": patterns(["registry.example.org/acme/*"], [IMAGE], [IMAGE[:-1] + "*"], ["*"], []),
        "clients": patterns(["ct.client:app"], ["ct.*"], ["*"]),
        "namespaces": patterns(["default"], ["research", "de*"], ["*"]),
        "jobs": patterns(["digits"], ["di*", "ct"], ["*"]),
    },
    optional={
        "maxSeconds": st.sampled_from([40_000, 86_400]),
        "privacy": st.sampled_from([{"minCohort": 3}, {"minCohort": 3, "minExamples": 11}, {"minExamples": 12}]),
    },
)
RULES = st.sampled_from([{}, {"jobs": ["di*"]}, {"namespaces": ["default"]}, {"jobs": ["ct"], "namespaces": ["*"]}])
SITES = st.builds(
    lambda policy, named, ct, ceilings, tags: {
        "silo": "hospital-a",
        "policy": {**policy, **({"requireDigest": False} if tags and policy["approval"] == "Auto" else {})},
        "datasets": {"named": named, "chest-ct": ct},
        "pods": {"ceilings": ceilings},
    },
    POLICIES,
    RULES,
    RULES,
    st.sampled_from([{}, {"cpu": "2"}, {"cpu": "2", "memory": "4Gi"}]),
    st.booleans(),
)


def allows(site: Object, spec: Object, approved: str | None) -> bool:
    """By the text of the site file, of the FederatedClient, and of what was approved last."""
    policy, job, app = site["policy"], spec["job"], spec["app"]
    dataset = site["datasets"].get(spec["dataset"])
    text = json.dumps(spec)
    if any(f'"{odd}"' in text for odd in UNREADABLE) or dataset is None:
        return False
    texts = [
        (job["namespace"], policy["namespaces"]),
        (job["name"], policy["jobs"]),
        (app["image"], policy["images"]),
        (app["client"], policy["clients"]),
        (job["namespace"], dataset.get("namespaces", ["*"])),
        (job["name"], dataset.get("jobs", ["*"])),
    ]
    floors = policy.get("privacy", {})
    asked = [(name, amount) for group in spec.get("resources", {}).values() for name, amount in group.items()]
    ceilings = site.get("pods", {}).get("ceilings", {})
    return (
        spec["silo"] == site["silo"]
        and all(fits(text, patterns_) for text, patterns_ in texts)
        and (app["image"][-72:-64] == "@sha256:" or not policy.get("requireDigest", True))
        and spec["activeDeadlineSeconds"] <= policy.get("maxSeconds", 1e9)
        and all(spec["privacy"][name] >= floor for name, floor in floors.items())
        and all(AMOUNTS[amount] <= AMOUNTS[ceilings[name]] for name, amount in asked if name in ceilings)
        and (policy["approval"] == "Auto" or approved == judged(spec))
    )


def fits(text: str, allowed: list[str]) -> bool:
    return any(text == p or (p.endswith("*") and text.startswith(p[:-1])) for p in allowed)


def judged(spec: Object) -> str:
    """All that an administrator judges. No resources at all are as good as none."""
    return json.dumps({k: v for k, v in spec.items() if k not in PASSING and v != {}}, sort_keys=True)


PASSING = ("certificate", "authorities", "server", "desiredState")

# ---- what the hub may do

EDITS = st.fixed_dictionaries(
    {},
    optional={
        "job": st.fixed_dictionaries(
            {
                "name": st.sampled_from(["digits", "digits", "ct", "other"]),
                "namespace": st.sampled_from(["default", "default", "research", "evil"]),
                "uid": st.sampled_from([UID, UID, "b-2", "../x"]),
            }
        ),
        "silo": st.sampled_from(["hospital-a", "hospital-b"]),
        "trustDomain": st.sampled_from(["umbel.local", "evil.example.org"]),
        "app": st.fixed_dictionaries(
            {
                "image": st.sampled_from([IMAGE, OTHER_IMAGE, TAG, ELSEWHERE, AROUND]),
                "client": st.sampled_from(["ct.client:app", "ct.other:app", "x:y"]),
            }
        ),
        "dataset": st.sampled_from(["named", "chest-ct", "unknown"]),
        "desiredState": st.sampled_from(["Running", "Running", "Suspended", "Finished", "Hibernating"]),
        "activeDeadlineSeconds": st.sampled_from([1, 40_000, 40_001, 86_400, 86_401, "86400"]),
        "privacy": st.sampled_from([{"minCohort": c, "minExamples": e} for c in (2, 3) for e in (10, 11, 12)]),
        "resources": st.sampled_from(
            [
                {},
                {"limits": {"cpu": "2"}},
                {"limits": {"cpu": "3"}},
                {"requests": {"memory": "5Gi"}, "limits": {"cpu": "1"}},
                {"limits": {"memory": "4Gi"}},
                {"limits": {"cpu": "many"}},
            ]
        ),
        "server": st.sampled_from([{"url": "grpcs://192.0.2.1:1", "name": "x.example.org"}]),
    },
)
STEPS = st.one_of(
    st.tuples(st.just("edit"), EDITS),
    st.tuples(st.just("edit"), EDITS),
    st.tuples(st.sampled_from(["undo", "approve", "approve", "deny", "delete"]), st.none()),
    st.tuples(st.just("later"), st.sampled_from([100.0, 41_000.0])),
)


class Watched:
    """One silo, of which every pass is judged."""

    def __init__(self, silo: Silo, site: Object) -> None:
        self.silo, self.site = silo, site
        self.approved: str | None = None
        self.first: dict[str, float] = {}  # when a job's client was first seen here
        self.ran = 0
        self._good = {key: value for key, value in silo.fc["spec"].items() if key not in PASSING}

    def step(self, what: str, how: Any) -> None:
        silo = self.silo
        match what:
            case "edit":
                silo.change(**how)
            case "undo":
                silo.change(**self._good, desiredState="Running")
            case "approve" | "deny":
                self._answer("Approved" if what == "approve" else "Denied")
            case "later":
                silo.now += how
            case "delete":
                silo.gone = True
                self._pass()
                silo.gone = False
        for _ in range(3):
            self._pass()
            if "certificate" not in silo.fc["spec"] and silo.fc["status"].get("certificateRequest"):
                silo.sign()

    def _answer(self, verdict: Any) -> None:
        try:
            client = federatedclient.read(self.silo.fc)
        except ValueError:
            return  # nobody is asked
        if client.silo != self.site["silo"]:
            return  # nor of what is meant for another silo
        request = request_of(client)
        self.silo.answers = answered({}, {request.name: request}, request.name, verdict, "ada", "t", "")
        self.approved = judged(self.silo.fc["spec"]) if verdict == "Approved" else None

    def _pass(self) -> None:
        self.silo.now += 1.0  # attempts are named by when they were made
        self.silo.one_pass()
        spec = self.silo.fc["spec"]
        for seen in self.silo.running():
            self.ran += 1
            assert not self.silo.gone
            assert allows(self.site, spec, self.approved)
            asked = {f"--client={spec['app']['client']}", f"--dataset={spec['dataset']}", f"--silo={spec['silo']}"}
            assert asked <= set(seen.words)
            assert seen.uid == spec["job"]["uid"]
            assert seen.image in (None, spec["app"]["image"])
            assert seen.cpus <= AMOUNTS[self.site.get("pods", {}).get("ceilings", {}).get("cpu", "3")]
            since = self.first.setdefault(seen.uid, self.silo.now)
            bound = self.site["policy"].get("maxSeconds", 1e9)
            assert self.silo.now - since < bound or spec["desiredState"] == "Finished"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=80)
@given(site=SITES, steps=st.lists(STEPS, min_size=2, max_size=8))
def test_whatever_the_hub_does_what_runs_is_allowed(
    tmp_path_factory: pytest.TempPathFactory, kind: type[Silo], site: Object, steps: list[tuple[str, Any]]
) -> None:
    watched = Watched(kind(tmp_path_factory.getbasetemp() / "ca", site), site)  # type: ignore[call-arg]
    for what, how in [("undo", None), ("approve", None), *steps]:
        watched.step(what, how)
    event("something ran" if watched.ran else "nothing ran")


@pytest.mark.parametrize("approval", ["Auto", "Manual"])
@pytest.mark.parametrize("kind", KINDS)
def test_and_what_is_allowed_does_run(tmp_path: Path, kind: type[Silo], approval: str) -> None:
    """Or the property would be that of a silo in which nothing ever runs."""
    site = {**BASE, "policy": {**BASE["policy"], "approval": approval}}
    watched = Watched(kind(tmp_path, site), site)  # type: ignore[call-arg]
    watched.step("undo", None)
    assert bool(watched.ran) == (approval == "Auto")
    watched.step("approve", None)
    assert len(list(watched.silo.running())) == 1
    watched.step("edit", {"dataset": "unknown"})
    assert not list(watched.silo.running())
    watched.step("undo", None)
    assert len(list(watched.silo.running())) == 1
