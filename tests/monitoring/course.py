"""One job's whole course under a real operator and a real Prometheus, with faults on the way.

What happens is made to happen, and waited for until Prometheus has seen it.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from process.harness import manifest, processes, wait_for
from umbel_cluster import charts

from . import hub as hubs
from . import prometheus as prometheuses
from .leaking import leaking
from .prometheus import PATIENCE, Prometheus

SILOS = [f"silo-{number}" for number in range(1, 5)]
FEW = SILOS[2:]  # without them there is no quorum
ROUNDS, MORE = 4, 5
ABANDONED, REFUSED, WITHHELD = 2, 3, 4  # rounds

# For a test that cannot wait a quarter of an hour.
SHORTER = {
    "operatorAbsent": {"for": "1s"},
    "siloUnknown": {"for": "1s"},
    "serverNotReady": {"for": "1s"},
    "waitingForSilos": {"for": "1s"},
    "roundPastDeadline": {"for": "1s", "graceSeconds": 1},
    "checkpointOld": {"for": "1s", "rounds": 1},
    "updatesRejected": {"for": "1s", "ratio": 0.01},
    "metricsWithheld": {"rounds": 1},
    "certificateExpires": {"for": "1s", "hours": 25},
    "authorityExpires": {"for": "1s", "days": 4000},
    "updatesHeldWhileIdle": {"for": "1s"},
    "reconcileErrors": {"for": "1s", "errors": 0},
    "operatorDeaf": {"for": "1s", "seconds": 30},
}


@dataclass
class Scene:
    """``middle``: a moment at which a round trained and others had been released; ``late``: one in the last round, when
    everything had happened to the job that is going to. ``fired``: alerts, in order."""

    prometheus: Prometheus
    start: float
    middle: float = 0.0
    late: float = 0.0
    end: float = 0.0
    texts: dict[str, bytes] = field(default_factory=dict)  # of /metrics, by process
    fired: list[str] = field(default_factory=list)

    def alarm(self, name: str) -> None:
        """Returns once that alert fires."""
        wait_for(lambda: self.prometheus.firing(name), f"{name} to fire", PATIENCE)
        self.fired.append(name)


def from_the_chart(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The rules that Helm makes of ``values``, as they stand beneath `alerts` of the chart."""
    path = folder / "alerts.json"  # which is YAML too
    path.write_text(json.dumps({"alerts": values, "prometheusRule": {"enabled": True}}))
    (found,) = charts.rendered(charts.HUB, f"--values={path}", "--show-only=templates/prometheusrule.yaml")
    return dict(found["spec"])


@contextlib.contextmanager
def played(folder: Path) -> Iterator[Scene]:
    """When the job has ended; Prometheus can be asked for as long as the block lasts."""
    with prometheuses.running(folder / "prometheus", from_the_chart(SHORTER, folder)) as prometheus:
        scene = Scene(prometheus, time.time())
        with processes() as started, hubs.running(folder / "hub", started, SILOS) as hub:
            scene.alarm("UmbelOperatorAbsent")
            hub.start_operator()
            prometheus.target("operator", hub.plain)
            prometheus.until('fl_silos{state="Invited"}', len(SILOS))
            hub.agents(*SILOS)
            prometheus.until('fl_silos{state="Ready"}', len(SILOS))
            _course(scene, hub, folder)
            _hanging(scene, hub, folder)
            _away(scene, hub, folder)
            scene.end = time.time()
        yield scene


def _job(name: str = "steered", **spec: Any) -> dict[str, Any]:
    sections = {
        "app": {"client": "controlled:app", "image": "registry.local/steered:1", "config": {"size": 64}},
        "rounds": {"total": ROUNDS, "quorum": 3, "timeoutSeconds": 600, "maxConsecutiveAbandoned": 1000},
        "limits": {"maxAbs": 0.25},
    }
    made = manifest(SILOS, **{**sections, **spec})
    return {**made, "metadata": {"name": name, "namespace": "default"}}


def _course(scene: Scene, hub: hubs.Hub, folder: Path) -> None:
    prometheus, job = scene.prometheus, hubs.Job(hub, _job(), folder / "job")
    for number in (1, REFUSED, WITHHELD, MORE):
        job.control.order(f"fit.{number}", "hold")
    for silo in FEW:
        job.control.order(f"fit.{ABANDONED}.{silo}", "raise")
        job.control.order(f"evaluate.{WITHHELD}.{silo}", "raise")
    job.control.order(f"evaluate.{MORE}", "hold")
    scene.alarm("UmbelServerNotReady")
    job.start_server()
    prometheus.target("server", job.metrics)
    prometheus.until('fl_federatedjob_silos{state="not_ready"}', len(SILOS))
    scene.alarm("UmbelWaitingForSilos")
    job.start_clients(SILOS)

    _training(scene, job, 1)
    scene.alarm("UmbelCertificateExpires")
    scene.alarm("UmbelAuthorityExpires")
    job.control.end("fit.1")

    _abandoned(scene, job)

    _training(scene, job, REFUSED)
    hub.kubectl("patch", "federatedjob", job.name, "--type=merge", "-p", f'{{"spec":{{"rounds":{{"total":{MORE}}}}}}}')
    prometheus.until("fl_job_rounds_target", MORE)
    job.control.order(f"fit.{REFUSED}.{SILOS[-1]}", "plant")
    job.control.end(f"fit.{REFUSED}")
    scene.alarm("UmbelUpdatesRejected")

    _training(scene, job, WITHHELD)
    scene.middle = time.time()
    job.control.end(f"fit.{WITHHELD}")
    scene.alarm("UmbelMetricsWithheld")

    _training(scene, job, MORE)
    scene.late = time.time()
    job.control.end(f"fit.{MORE}")
    job.control.await_all(SILOS, "evaluate", MORE)
    scene.texts = {"operator": text(hub.plain), "server": text(job.metrics)}
    job.control.end(f"evaluate.{MORE}")
    prometheus.until('fl_federatedjob_status_phase{phase="Complete"}', 1)
    with leaking(scene.texts["server"], job.name) as address:
        prometheus.target("leaking", address)
        scene.alarm("UmbelUpdatesHeldWhileIdle")
        prometheus.forget("leaking")


def _training(scene: Scene, job: hubs.Job, number: int) -> None:
    """Returns when that round is open, and server and operator have said so."""
    job.control.await_all(SILOS, "fit", number)
    scene.prometheus.until("fl_job_round", number - 1)
    scene.prometheus.until('fl_job_status_phase{phase="Training"}', 1)
    scene.prometheus.until("fl_federatedjob_round", number - 1)


def _abandoned(scene: Scene, job: hubs.Job) -> None:
    """Attempts fail one after the other until the alert has been seen."""
    scene.alarm("UmbelRoundsAbandoned")
    for silo in FEW:
        job.control.end(f"fit.{ABANDONED}.{silo}")

    def committed() -> bool:
        job.restart_ended()
        return job.control.at(SILOS[0], "fit", ABANDONED + 1) is not None

    wait_for(committed, "a quorum", PATIENCE)


def _hanging(scene: Scene, hub: hubs.Hub, folder: Path) -> None:
    """A job whose rule does not end, past the deadline of its round, with no checkpoint written; and then it does."""
    spec = {"rounds": {"total": 1, "timeoutSeconds": 10}, "evaluation": {"everyRounds": 0}}
    job = hubs.Job(hub, _job("hanging", strategy={"name": "hanging:Hanging"}, **spec), folder / "hanging")
    job.control.order("step", "hold")
    job.start_server()
    scene.prometheus.target("hanging", job.metrics)
    job.start_clients(SILOS)
    scene.alarm("UmbelRoundPastDeadline")
    scene.alarm("UmbelCheckpointOld")
    job.control.end("step")
    scene.prometheus.until('fl_federatedjob_status_phase{fl_job="hanging", phase="Complete"}', 1)


def _away(scene: Scene, hub: hubs.Hub, folder: Path) -> None:
    """Agents that are silent, a job whose server cannot start, and then an API server that is away while a job goes
    on."""
    going = hubs.Job(hub, _job("going", rounds={"total": 1, "timeoutSeconds": 600}), folder / "going")
    going.control.order("fit.1", "hold")
    going.start_server()
    going.start_clients(SILOS)
    going.control.await_all(SILOS, "fit", 1)
    hub.agents()
    wrong = hubs.Job(hub, _job("wrong", strategy={"name": "nowhere:Rule"}), folder / "wrong")
    wrong.end_with(wrong.start_server())
    scene.alarm("UmbelJobFailed")
    scene.alarm("UmbelSiloUnknown")
    with hub.without_api():
        scene.alarm("UmbelOperatorDeaf")
        going.control.end("fit.1")
        scene.alarm("UmbelReconcileErrors")  # its status cannot be written


def text(address: str) -> bytes:
    """What a process says of itself."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        return bytes(answer.read())
