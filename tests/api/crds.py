"""What the tests of the CustomResourceDefinitions share."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from api.asking import Answer
from api.specs import put
from umbel_cluster.api import Api
from umbel_cluster.tools import ClusterError

CRDS = Path(__file__).parents[2] / "crds"
# `--for=condition` fails on one that has no status yet.
ESTABLISHED = '--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True'
SORTS = ("Invalid value", "Forbidden", "Required value", "Unsupported value")


def applied(api: Api) -> Api:
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    api.kubectl("wait", ESTABLISHED, "--timeout=30s", "-f", str(CRDS))
    for seconds_left in range(30, -1, -1):  # names and documentation are there a little later
        try:
            for name in ("fj", "fc", "silo"):
                api.kubectl("explain", f"{name}.spec")
            break
        except ClusterError:
            if not seconds_left:
                raise
            time.sleep(1)
    return api


def job(name: str = "digits", **fields: Any) -> dict[str, Any]:
    """A right job with fields of its spec set by path: ``rounds__quorum=3``."""
    silos = [{"name": f"silo-{n}", "dataset": "d"} for n in range(1, 6)]
    spec: dict[str, Any] = {"app": {"image": "a", "client": "a:b"}, "silos": silos}
    for path, value in fields.items():
        put(spec, tuple(path.split("__")), value)
    return {"apiVersion": "umbel.dev/v1alpha1", "kind": "FederatedJob", "metadata": {"name": name}, "spec": spec}


def words(answer: Answer) -> list[str]:
    """Field and message, as the runtime writes them: without the sort of fault that Kubernetes puts between them."""
    lines = answer.causes
    for sort in SORTS:
        lines = [line.replace(f": {sort}: ", ": ", 1) for line in lines]
    return sorted(re.sub(r"\[([a-z]\w*)\]", r".\1", line) for line in lines)
