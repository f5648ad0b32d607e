"""python -m umbel_cluster up|down NAME, list, images [--cluster NAME] [EXAMPLE ...]"""

from __future__ import annotations

import argparse
import sys
import time

from . import cluster, images, layout, supervisor
from .tools import CHECKOUT, ClusterError


def main() -> None:
    parser = argparse.ArgumentParser(prog="umbel_cluster", description="A Kubernetes of this machine's own.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("up", "down", "serve"):
        commands.add_parser(command).add_argument("name")
    commands.add_parser("list")
    serve = commands.choices["serve"]
    serve.add_argument("answer", type=int)
    serve.add_argument("--mortal", action="store_true")
    built = commands.add_parser("images")
    built.add_argument("--cluster")
    built.add_argument("example", nargs="*")
    given = parser.parse_args()
    try:
        if given.command == "up":
            up(given.name)
        elif given.command == "down":
            print(f"{given.name}: removed" if cluster.down(given.name) else f"{given.name}: there is none")
        elif given.command == "list":
            for found in layout.every():
                print(found.name, found.kubeconfig, "" if supervisor.alive(found) else "(dead)")
        elif given.command == "images":
            build(given.cluster, given.example)
        else:
            supervisor.main(given.name, given.answer, mortal=given.mortal)
    except ClusterError as error:
        sys.exit(f"umbel-cluster: {error}")


def build(name: str | None, examples: list[str]) -> None:
    if name and not ((found := layout.load(name)) and supervisor.alive(found)):
        raise ClusterError(f"there is no cluster {name}: make cluster NAME={name}")
    archives = [
        images.client(),
        images.control(),
        *(images.example(CHECKOUT / "examples" / example) for example in examples),
    ]
    for archive in archives:
        print(archive)
        if name:
            cluster.up(name).import_image(archive)


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
