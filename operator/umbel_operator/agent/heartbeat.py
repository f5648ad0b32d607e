"""What the hub is told of the silo itself: that its agent lives, its version, its backend, its data sets' names."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import Any

from umbel_operator import names

LEASE = names.AGENT
ANNOTATION = names.AGENT_REPORT
BEAT_SECONDS = 10.0
LEASE_SECONDS = 40
NAMES = 256


def lease(
    namespace: str, holder: str, version: str, backend: str, datasets: Iterable[str], now: float
) -> dict[str, Any]:
    told = {"version": version, "backend": backend, "datasets": sorted(datasets)[:NAMES]}
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": LEASE,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: "umbel", names.COMPONENT: "agent"},
            "annotations": {ANNOTATION: json.dumps(told, separators=(",", ":"))},
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
