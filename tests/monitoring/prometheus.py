"""A real Prometheus on loopback, and what it answers."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml
from process.harness import wait_for
from umbel_cluster.processes import free_port

SCRAPE_SECONDS = 1
PATIENCE = 180.0

Series = list[tuple[dict[str, str], list[tuple[float, float]]]]
"""Labels, and (time, value) without gaps."""


class Prometheus:
    """``port``: of loopback, by which it is asked."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder

    def target(self, job: str, address: str) -> None:
        """Scrape one more process."""
        path = self._folder / "targets" / f"{job}.json"
        path.with_suffix(".new").write_text(json.dumps([{"targets": [address], "labels": {"job": job}}]))
        path.with_suffix(".new").rename(path)

    def forget(self, job: str) -> None:
        (self._folder / "targets" / f"{job}.json").unlink()

    def ask(self, path: str, **parameters: Any) -> Any:
        """Raises urllib.error.URLError."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            body = json.load(answer)
        assert body["status"] == "success"
        return body["data"]

    def instant(self, expr: str, at: float | None = None) -> Series:
        data = self.ask("query", query=expr, **({} if at is None else {"time": at}))
        if data["resultType"] == "scalar":
            return [({}, _points([data["result"]]))]
        return [(entry["metric"], _points([entry["value"]])) for entry in data["result"]]

    def over(self, expr: str, start: float, end: float) -> Series:
        data = self.ask("query_range", query=expr, start=start, end=end, step=SCRAPE_SECONDS)
        return [(entry["metric"], _points(entry["values"])) for entry in data["result"]]

    def moves(self, expr: str, start: float, end: float) -> bool:
        """Whether, between two moments at which it shows something at all, it shows something else."""
        shown: dict[float, set[tuple[object, float]]] = {}
        for labels, points in self.over(expr, start, end):
            for at, value in points:
                shown.setdefault(at, set()).add((tuple(sorted(labels.items())), value))
        return len({frozenset(found) for found in shown.values()}) > 1

    def value(self, expr: str) -> float | None:
        """Of an expression with one series; None while there is none."""
        found = [points[0][1] for _, points in self.instant(expr) if points]
        return found[0] if found else None

    def until(self, expr: str, value: float) -> None:
        """Returns once it has scraped that."""
        wait_for(lambda: self.value(expr) == value, f"{expr} to be {value:g}", PATIENCE)

    def firing(self, name: str, **labels: str) -> bool:
        """Whether that alert fires. One that only waits for its duration does not."""
        wanted = {"alertname": name, **labels}.items()
        alerts = self.ask("alerts")["alerts"]
        return any(wanted <= alert["labels"].items() for alert in alerts if alert["state"] == "firing")


def _points(values: list[Any]) -> list[tuple[float, float]]:
    found = [(float(at), float(value)) for at, value in values]
    return [(at, value) for at, value in found if not math.isnan(value)]


@contextlib.contextmanager
def running(
    folder: Path,
    rules: Mapping[str, Any],
    popen: Callable[..., subprocess.Popen[Any]] = subprocess.Popen,
    reached: Callable[[int], AbstractContextManager[int]] = contextlib.nullcontext,
) -> Iterator[Prometheus]:
    """For as long as the block lasts; everything is in ``folder``. ``popen``: starts it, in another network perhaps;
    ``reached``: the port of our loopback that leads to a port of its own."""
    (folder / "targets").mkdir(parents=True)
    (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
    every = f"{SCRAPE_SECONDS}s"
    config = {
        "global": {"scrape_interval": every, "evaluation_interval": every, "scrape_timeout": every},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "umbel",
                "file_sd_configs": [{"files": ["targets/*.json"], "refresh_interval": every}],
            }
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    arguments = [
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = popen(["prometheus", *arguments], stdout=log, stderr=log)
    try:
        with reached(port) as ours:
            prometheus = Prometheus(folder, ours)
            wait_for(lambda: _answers(prometheus), "Prometheus to be ready", PATIENCE)
            yield prometheus
    finally:
        process.terminate()
        process.wait()


def _answers(prometheus: Prometheus) -> bool:
    with contextlib.suppress(OSError):
        return bool(prometheus.instant("vector(1)"))
    return False
