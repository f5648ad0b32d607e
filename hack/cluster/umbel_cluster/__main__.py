"""python -m umbel_cluster up|down|list [NAME]"""

from __future__ import annotations

import argparse
import sys
import time

from . import cluster, layout, supervisor
from .tools import ClusterError


def main() -> None:
    parser = argparse.ArgumentParser(prog="umbel_cluster", description="A Kubernetes of this machine's own.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("up", "down", "serve"):
        commands.add_parser(command).add_argument("name")
    commands.add_parser("list")
    serve = commands.choices["serve"]
    serve.add_argument("answer", type=int)
    serve.add_argument("--mortal", action="store_true")
    given = parser.parse_args()
    try:
        if given.command == "up":
            up(given.name)
        elif given.command == "down":
            print(f"{given.name}: removed" if cluster.down(given.name) else f"{given.name}: there is none")
        elif given.command == "list":
            for found in layout.every():
                print(found.name, found.kubeconfig, "" if supervisor.alive(found) else "(dead)")
        else:
            supervisor.main(given.name, given.answer, mortal=given.mortal)
    except ClusterError as error:
        sys.exit(f"umbel-cluster: {error}")


def up(name: str) -> None:
    found = layout.load(name)
    runs = found is not None and supervisor.alive(found)
    began = time.monotonic()
    print(f"{name}: runs already" if runs else f"{name}: starting", flush=True)
    started = cluster.up(name)
    if not runs:
        print(f"{name}: ready after {time.monotonic() - began:.0f} s")
    print(f"export KUBECONFIG={started.kubeconfig}")


main()
