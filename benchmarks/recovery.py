"""How long a job on real clusters takes to start, and to go on after each kill; and what a round costs the hub's API.

    python benchmarks/recovery.py [--only server,client,operator,agent,apiserver,kubelet,writes] [--again N]

Two clusters of one node each, as the tests of the cluster have them: a hub with two silos, and a second with two more.
Images are there already. ``start`` is from the apply to the first round's opening and to its commit, as the job's
status tells them. For a kill: from the kill until the next round commits that was opened after it, beside what a round
of the same job takes undisturbed. A round that goes on through a kill counts as well: for pieces that no round needs it
is the next one that commits. ``writes`` are all that the hub's API server was asked to change of Umbel's kinds, and all
that was applied of any kind, by the operator and the silos' agents together, in rounds of some seconds: in shorter ones
several are told of at once. Heartbeats (Leases) are not among them.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[1]
sys.path += [str(ROOT / "hack/cluster"), str(ROOT / "tests")]
# Rounds of about a second, and more of them than any kill lasts.
LONG = {"app__config": {"epochs": 60, "batchSize": 16, "learningRate": 0.1, "hidden": 32}, "rounds__total": 400}
SILO = "silo-3"
WARM_ROUNDS = 6
# Rounds of some seconds.
SLOW = {"app__config": {"epochs": 2500, "batchSize": 16, "learningRate": 0.01, "hidden": 32}, "rounds__total": 400}
COUNTED_ROUNDS = 20
WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
PATIENCE = 180.0


def kill_server(federation: Any, job: Any) -> None:
    for pid in job.server_processes():
        os.kill(pid, signal.SIGKILL)


def kill_client(federation: Any, job: Any) -> None:
    pod = job.client_pods(SILO)[0]["metadata"]["name"]
    federation.cluster_of(SILO).kubectl("delete", "pod", pod, "-n", SILO, "--grace-period=0", "--force")


def kill_operator(federation: Any, job: Any) -> None:
    federation.kill("operator")
    federation.start_operator()


def kill_agent(federation: Any, job: Any) -> None:
    federation.kill(SILO)
    federation.start_agent(SILO)


def kill_piece(name: str) -> Callable[[Any, Any], None]:
    def kill(federation: Any, job: Any) -> None:
        federation.hub.kill(name)
        federation.hub.start(name)

    return kill


KILLS: dict[str, Callable[[Any, Any], None]] = {
    "server": kill_server,
    "client": kill_client,
    "operator": kill_operator,
    "agent": kill_agent,
    "apiserver": kill_piece("apiserver"),
    "kubelet": kill_piece("kubelet"),
}
ALL = (*KILLS, "writes")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--only", default=",".join(ALL), help="kills, and `writes`, with commas between them")
    options.add_argument("--again", type=int, default=1, help="how often each kill is done; the median counts")
    chosen = options.parse_args()
    wanted = [name for name in chosen.only.split(",") if name]
    if unknown := set(wanted) - set(ALL):
        options.error(f"--only: {', '.join(sorted(unknown))}: one of {', '.join(ALL)}")
    from umbel_cluster import images

    running = import_module("cluster.conftest").running  # of tests/, which are not checked with what is here
    Federation = import_module("cluster.federation").Federation

    with tempfile.TemporaryDirectory(prefix="umbel-bench-") as folder, running("a") as hub, running("b") as other:
        image = images.example(ROOT / "examples/digits")
        for each in (hub, other):
            each.import_image(image)
        federation = Federation(hub, other, Path(folder))
        try:
            federation.start()
            measure(federation, [name for name in wanted if name in KILLS], chosen.again)
            if "writes" in wanted:
                count_writes(federation)
        finally:
            federation.stop()


def measure(federation: Any, kills: list[str], again: int) -> None:
    with federation.job("recovery", **LONG) as job:
        applied = time.time()
        first = opened(job, 1)
        print(f"start: the first round opens after {first - applied:.1f} s", flush=True)
        job.until_round(WARM_ROUNDS)
        undisturbed = statistics.median(took(entry) for entry in job.status["history"])
        print(f"a round undisturbed: {undisturbed:.2f} s\n")
        print("| killed | s until a round is committed that opened after it | times a round |\n|---|---|---|")
        for name in kills:
            seconds = statistics.median(recovered(federation, job, name) for _ in range(again))
            print(f"| {name} | {seconds:.1f} | {seconds / undisturbed:.1f} |", flush=True)


def count_writes(federation: Any) -> None:
    with federation.job("writes", **SLOW) as job:
        job.until_round(2)
        before, first = writes(federation), job.status["round"]["number"]
        job.until_round(first + COUNTED_ROUNDS)
        made, rounds = writes(federation) - before, job.status["round"]["number"] - first
        took_each = statistics.median(took(entry) for entry in job.status["history"])
    print(f"\nwrites a round, of {rounds} rounds of {took_each:.1f} s: {made.total() / rounds:.2f}")
    print("\n".join(f"    {what}: {count / rounds:.2f} a round" for what, count in sorted(made.items())))


def writes(federation: Any) -> Counter[str]:
    """What the hub's API server has answered so far, by verb and resource."""
    found = Counter[str]()
    text = federation.hub.kubectl("get", "--raw", "/metrics")
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name == "apiserver_request_total" and labels["verb"] in WRITES:
                of_umbel = labels["group"] == "umbel.dev" or labels["verb"] == "APPLY"
                if of_umbel and labels["resource"] != "leases":
                    resource = "/".join(filter(None, (labels["resource"], labels["subresource"])))
                    found[f"{labels['verb']} {resource}"] += int(value)
    return found


def recovered(federation: Any, job: Any, name: str) -> float:
    """Seconds from the kill to the end of the next committed round that began after it. Clocks are this machine's."""
    job.until_round(job.status["round"]["number"] + 1)
    killed = time.time()
    KILLS[name](federation, job)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for entry in committed(job):
            if began(entry) >= killed:
                return began(entry) + took(entry) - killed
        time.sleep(0.25)
    raise SystemExit(f"{name}: no round was committed within {PATIENCE:.0f} s\n{job.story()}")


def opened(job: Any, number: int) -> float:
    """Unix time at which a round began, once it is committed."""
    return float(job.until(lambda j: next((began(e) for e in committed(j) if e["round"] == number), None), "a round"))


def committed(job: Any) -> list[dict[str, Any]]:
    """Nothing while the API server is away."""
    try:
        history = job.status.get("history") or []
    except Exception:
        return []
    return [entry for entry in history if entry["outcome"] == "Committed"]


def began(entry: dict[str, Any]) -> float:
    from umbel_operator.conditions import seconds

    return float(seconds(entry["started"]))


def took(entry: dict[str, Any]) -> float:
    said = entry["seconds"]
    return float(sum(said.values()) if isinstance(said, dict) else said)


if __name__ == "__main__":
    main()
