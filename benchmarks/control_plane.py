"""What the hub's operator costs: writes a job, and CPU and memory of many jobs at rest.

    python benchmarks/control_plane.py [--jobs N] [--silos N] [--rest SECONDS]

A real API server with its controllers and no node; the operator is the shipped process with the shipped role. Silos'
agents are played: each FederatedClient gets a certificate request and a Ready condition. ``made`` is from the apply of
all jobs to the last one's clients being certified. ``RSS`` and ``CPU`` are the operator's, while nothing happens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from umbel.wire.pki import new_request

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "hack/cluster"))
UMBEL = ROOT / ".venv/bin/umbel"
OPERATOR = "system:serviceaccount:umbel-system:umbel-operator"
WRITES = {"create", "update", "patch", "delete"}
MIB = 1 << 20


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--jobs", type=int, default=1000)
    options.add_argument("--silos", type=int, default=20)
    options.add_argument("--rest", type=float, default=60.0, help="seconds to look at an operator with nothing to do")
    chosen = options.parse_args()
    from umbel_cluster.api import serving

    with tempfile.TemporaryDirectory(prefix="umbel-bench-") as folder, serving(Path(folder)) as api:
        measure(api, Path(folder), chosen.jobs, chosen.silos, chosen.rest)


def measure(api: Any, folder: Path, jobs: int, silos: int, rest: float) -> None:
    names = [f"silo-{number}" for number in range(silos)]
    prepare(api, names)
    with (folder / "operator.log").open("wb") as log:
        config = api.kubeconfig_for("umbel-system", "umbel-operator")
        command = [UMBEL, "hub", "run", "--kubeconfig", config, "--http", "127.0.0.1:0"]
        process = subprocess.Popen(command, stderr=log)
    operator = psutil.Process(process.pid)
    try:
        until(lambda: "ready" in (folder / "operator.log").read_text(), 120)
        idle = operator.memory_info().rss / MIB
        began = time.monotonic()
        items = [job(number, names) for number in range(jobs)]
        for page in batches(items, 100):
            apply(api, page)
        certify(api, jobs * silos)
        made = time.monotonic() - began
        until(lambda: quiet(api), 1800)
        writes = Counter(f"{c['verb']} {c['objectRef']['resource']}" for c in calls(api))
        look_at_rest(api, operator, rest, jobs, silos, idle, made, writes)
    finally:
        process.terminate()
        process.wait(60)


def look_at_rest(
    api: Any,
    operator: psutil.Process,
    rest: float,
    jobs: int,
    silos: int,
    idle: float,
    made: float,
    writes: Counter[str],
) -> None:
    before, cpu, peak = sum(1 for _ in calls(api)), operator.cpu_times(), []
    end = time.monotonic() + rest
    while time.monotonic() < end:
        peak.append(operator.memory_info().rss / MIB)
        time.sleep(1)
    after = operator.cpu_times()
    used = after.user + after.system - cpu.user - cpu.system
    wrote = sum(1 for _ in calls(api)) - before
    print(f"| jobs x silos | made s | writes a job | RSS MiB idle / at rest | CPU % at rest | writes in {rest:.0f} s |")
    print("|---|---|---|---|---|---|")
    figures = f"{made:.0f} | {sum(writes.values()) / jobs:.1f} | {idle:.0f} / {statistics.median(peak):.0f}"
    print(f"| {jobs} x {silos} | {figures} | {100 * used / rest:.1f} | {wrote} |")
    print("\n".join(f"    {what}: {count / jobs:.2f} a job" for what, count in sorted(writes.items())))


def calls(api: Any) -> Iterator[dict[str, Any]]:
    """Writes of the operator; not its heartbeat, nor that of the Silos."""
    for call in api.calls(OPERATOR):
        resource = (call.get("objectRef") or {}).get("resource")
        if call["verb"] in WRITES and resource not in ("leases", "silos"):
            yield call


def quiet(api: Any) -> bool:
    before = sum(1 for _ in calls(api))
    time.sleep(5)
    return sum(1 for _ in calls(api)) == before


# ---- hub and silos


def prepare(api: Any, names: list[str]) -> None:
    api.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    from umbel_cluster import charts

    api.kubectl("apply", "--server-side", "-f", "-", input=charts.account(charts.HUB, "umbel-system"))
    for name in names:
        subprocess.run(
            [UMBEL, "silo", "add", name, "--kubeconfig", api.kubeconfig], check=True, stdout=subprocess.DEVNULL
        )


def job(number: int, names: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "umbel.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": f"job-{number}", "namespace": "default"},
        "spec": {
            "app": {"image": "registry.local/app:1", "client": "client:app"},
            "silos": [{"name": name, "dataset": "digits"} for name in names],
        },
    }


def batches(items: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def apply(api: Any, items: list[dict[str, Any]]) -> None:
    api.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def certify(api: Any, total: int) -> None:
    """As the silos' agents would, all of them: one key for all, which is nobody's."""
    request = new_request()[0].decode()
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": "Played",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for type_ in ("Accepted", "Ready")
    ]
    status = {"observedGeneration": 1, "certificateRequest": request, "conditions": conditions}
    certified: set[str] = set()
    while len(certified) < total:
        for item in api.client.follow("/apis/umbel.dev/v1alpha1/federatedclients"):
            meta, spec = item["metadata"], item["spec"]
            if "status" not in item:
                where = f"/apis/umbel.dev/v1alpha1/namespaces/{meta['namespace']}/federatedclients/{meta['name']}"
                api.client.request("PATCH", f"{where}/status", {"status": status})
            if spec.get("certificate"):
                certified.add(meta["uid"])
            if len(certified) == total:
                break


def until(true: Callable[[], Any], seconds: float, every: float = 0.2) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds:.0f} s: {true.__name__}")
        time.sleep(every)


if __name__ == "__main__":
    main()
