"""What the hub's operator costs: calls a job, and CPU and memory of many jobs at rest.

    python benchmarks/control_plane.py [--jobs N] [--silos N] [--rest SECONDS]

A real API server with its controllers and no node; the operator is the shipped process with the shipped role. Silos'
agents are played: each FederatedClient gets a certificate request and a Ready condition. ``made`` is from the apply of
all jobs to the last one's clients being certified, and ``CPU s`` what the operator used until then and until it wrote
nothing any more. Calls are counted in the API server's audit log: by these a change is judged on a busy machine too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import psutil

from umbel.wire.pki import new_request
from umbel_operator.hub.attention import LOOK_SECONDS
from umbel_operator.kube import FEDERATED_CLIENT, Kube

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "hack/cluster"))
UMBEL = ROOT / ".venv/bin/umbel"
OPERATOR = "system:serviceaccount:umbel-system:umbel-operator"
WRITES = {"create", "update", "patch", "delete"}
MIB = 1 << 20
QUIET_SECONDS = 5.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--jobs", type=int, default=1000)
    options.add_argument("--silos", type=int, default=20)
    options.add_argument(
        "--rest", type=float, default=LOOK_SECONDS, help="seconds to look at an operator with nothing to do"
    )
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
        with (folder / "audit.log").open() as log:
            calls = Calls(log)
            calls.take()
            cpu, began = seconds(operator), time.monotonic()
            for page in batches([job(number, names) for number in range(jobs)], 100):
                apply(api, page)
            asyncio.run(certify(api, jobs * silos))
            made = time.monotonic() - began
            start = Counter[str]()
            while writes(found := calls.take()):
                start += found
                time.sleep(QUIET_SECONDS)
            start += found
            busy = seconds(operator) - cpu
            look_at_rest(operator, calls, rest, f"{jobs} x {silos}", jobs, (made, busy, idle), start)
    finally:
        process.terminate()
        process.wait(60)


def look_at_rest(
    operator: psutil.Process,
    calls: Calls,
    rest: float,
    size: str,
    jobs: int,
    before: tuple[float, float, float],
    start: Counter[str],
) -> None:
    """``before``: seconds until all was made, CPU seconds until then, RSS in MiB without a job."""
    made, busy, idle = before
    cpu, memory = seconds(operator), []
    end = time.monotonic() + rest
    while time.monotonic() < end:
        memory.append(operator.memory_info().rss / MIB)
        time.sleep(1)
    used, at_rest = seconds(operator) - cpu, calls.take()
    print(
        "| jobs x silos | made s | CPU s | reads, writes a job | RSS MiB idle / at rest | CPU s a minute at rest |",
        end="",
    )
    print(f" reads, writes in {rest:.0f} s |")
    print("|---|---|---|---|---|---|---|")
    figures = f"{made:.0f} | {busy:.1f} | {split(start, jobs)} | {idle:.0f} / {statistics.median(memory):.0f}"
    print(f"| {size} | {figures} | {60 * used / rest:.2f} | {split(at_rest, 1)} |")
    print("\n".join(f"    {what}: {count / jobs:.2f} a job" for what, count in sorted(start.items())))
    print("\n".join(f"    at rest {what}: {count}" for what, count in sorted(at_rest.items())))


def split(calls: Counter[str], jobs: int) -> str:
    """Reads, writes; each a job."""
    return f"{(calls.total() - writes(calls)) / jobs:.1f}, {writes(calls) / jobs:.1f}"


def writes(calls: Counter[str]) -> int:
    return sum(count for what, count in calls.items() if what.split()[0] in WRITES)


def seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


class Calls:
    """The operator's, by verb and resource; not its heartbeat nor the Silos', which it has without jobs too."""

    def __init__(self, audit: IO[str]) -> None:
        self._audit = audit
        self._rest = ""

    def take(self) -> Counter[str]:
        """Since the last time."""
        found = Counter[str]()
        while text := self._audit.read(MIB):
            *lines, self._rest = (self._rest + text).split("\n")
            found.update(filter(None, map(self._call, lines)))
        return found

    @staticmethod
    def _call(line: str) -> str | None:
        if OPERATOR not in line:
            return None
        event = json.loads(line)
        what = event.get("objectRef") or {}
        resource = "/".join(filter(None, (what.get("resource"), what.get("subresource"))))
        own = resource in ("leases", "silos", "silos/status") or what.get("name") == "umbel-ca"
        if event["user"].get("username") != OPERATOR or own or event["verb"] == "watch":
            return None
        return f"{event['verb']} {resource}"


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


async def certify(api: Any, total: int) -> None:
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
    kube = Kube.from_kubeconfig(api.kubeconfig)
    certified, asked = set[str](), set[str]()

    async def ask(item: dict[str, Any]) -> None:
        status = {"observedGeneration": 1, "certificateRequest": request, "conditions": conditions}
        meta = {key: item["metadata"][key] for key in ("name", "namespace")}
        body = {"apiVersion": FEDERATED_CLIENT.api_version, "kind": FEDERATED_CLIENT.kind, "metadata": meta}
        await kube.apply_status({**body, "status": status}, manager="bench")

    try:
        async with asyncio.TaskGroup() as asking:
            async for _, item in kube.watch(FEDERATED_CLIENT):
                if not item:
                    continue
                uid = item["metadata"]["uid"]
                if uid not in asked:
                    asked.add(uid)
                    asking.create_task(ask(item))
                if item["spec"].get("certificate"):
                    certified.add(uid)
                if len(certified) == total:
                    break
    finally:
        await kube.close()


def until(true: Callable[[], Any], seconds: float, every: float = 0.2) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds:.0f} s: {true.__name__}")
        time.sleep(every)


if __name__ == "__main__":
    main()
