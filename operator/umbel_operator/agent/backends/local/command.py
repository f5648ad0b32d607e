"""A client's command line and surroundings, where no container gives them. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from umbel_operator.agent import eligibility
from umbel_operator.agent.backends.local.directory import REPORT, STATE, TLS, TOKEN
from umbel_operator.agent.federatedclient import FederatedClient, Server
from umbel_operator.agent.resources import effective, whole_cpus
from umbel_operator.agent.site import Site

# Of the agent's own surroundings a client sees these, and nothing else.
KEPT = ("PATH", "HOME", "LANG")
STOPPING = 2 / 3
PATH = "/usr/local/bin:/usr/bin:/bin"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def arguments(
    client: FederatedClient,
    site: Site,
    server: Server,
    folder: Path,
    data: str | None,
    app_path: Sequence[str],
    grace: float,
) -> list[str]:
    """Of ``umbel``. ``folder``: the client's, ``data``: where its data set lies, as the client sees them. ``grace``:
    seconds from TERM to KILL; most of it is for what the client has to send."""
    options = {
        "--server": server.url,
        "--server-name": server.name,
        "--tls": str(folder / TLS),
        "--client": client.client,
        "--silo": client.silo,
        "--dataset": client.dataset,
        **({"--data": data} if data is not None else {}),
        "--state": str(folder / STATE),
        "--report": str(folder / REPORT),
        "--stop-seconds": f"{grace * STOPPING:g}",
    }
    # One word each: a value that begins with a dash is still a value.
    words = [f"{option}={value}" for option, value in options.items()]
    words += eligibility.arguments(site.eligibility)
    return ["client", *words, *(f"--path={path}" for path in app_path)]


def fence(folder: Path, token: str) -> list[str]:
    """More of the arguments: the client ends when it is not the one that is wanted any more."""
    return ["--while", str(folder / TOKEN), token]


def python(program: str) -> list[str]:
    """Safe: the folder that it is started in is not on the import path."""
    return [program, "-P", "-m", "umbel"]


def environment(
    client: FederatedClient, site: Site, given: Mapping[str, str], own: Mapping[str, str]
) -> dict[str, str]:
    """``own``: the agent's surroundings. ``given``: by the site file, which has the last word."""
    threads = str(whole_cpus(effective(client, site.pods)["limits"]))
    kept = {name: own[name] for name in KEPT if name in own}
    return {"PATH": PATH, **kept, **dict.fromkeys(THREADS, threads), "PYTHONUNBUFFERED": "1", **given}


def digest(*parts: object) -> str:
    """Of all that a client is started as: when it changes, the client is started anew."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
