"""``umbel model``: the final models of the hub's jobs, also of those that are gone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from umbel.cli.errors import CliError
from umbel_operator.cli import volumes
from umbel_operator.cli.options import CONTEXT, KUBECONFIG, with_hub
from umbel_operator.conditions import is_true
from umbel_operator.kube import FEDERATED_JOB, PVC, Kube
from umbel_operator.table import show

RELEASE_SECONDS = 120.0  # a server stays for its silos for a minute at most, and then it has to go

NAMESPACE = click.option("-n", "--namespace", help="Namespace of the job; the kubeconfig's by default.")
UID = click.option("--uid", help="Beginning of the job's uid, where several had that name.")


@click.group("model", short_help="Fetch, list and remove the models of finished jobs.")
def model() -> None:
    """The final models of the hub's jobs, also of those that are gone."""


@model.command("ls")
@click.option("-A", "--all-namespaces", is_flag=True, help="Of every namespace.")
@NAMESPACE
@KUBECONFIG
@CONTEXT
def ls(all_namespaces: bool, namespace: str | None, kubeconfig: Path | None, context: str | None) -> None:
    """List model volumes."""

    async def work(kube: Kube) -> list[volumes.Volume]:
        return await volumes.find(kube, None if all_namespaces else namespace or kube.access.namespace)

    found = with_hub(kubeconfig, context, work)
    head = ["NAMESPACE", "JOB", "UID", "ROUND", "FINISHED", "DIGEST", "VOLUME"]
    rows = [_row(volume) for volume in found]
    show([head, *rows])


def _row(v: volumes.Volume) -> list[object]:
    return [v.namespace, v.job, v.uid[:8], *(_or_dash(x) for x in (v.round, v.finished, v.digest[:19])), v.name]


def _or_dash(value: object) -> object:
    return "-" if value in (None, "") else value


@model.command("get")
@click.argument("job")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; <job>.safetensors by default.")
@click.option("--image", help="Image of the pod that reads the volume; the job's by default.")
@UID
@NAMESPACE
@KUBECONFIG
@CONTEXT
def get(
    job: str,
    output: Path | None,
    image: str | None,
    uid: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
) -> None:
    """Copy the final model of JOB into a file.

    A pod of yours reads the volume and is removed again: you need the rights to create and delete pods in the job's
    namespace, and pods/exec.
    """
    out = output or Path(f"{job}.safetensors")

    async def work(kube: Kube) -> volumes.Volume:
        where = namespace or kube.access.namespace
        found = await finished(kube, where, job, uid)
        await volumes.fetch(kube, found, out, image or found.image)
        return found

    found = with_hub(kubeconfig, context, work)
    click.echo(f"{out}: round {found.round}, {found.digest}")


async def finished(kube: Kube, namespace: str, job: str, uid: str | None) -> volumes.Volume:
    """One with a final model; that of a job that has just become Complete is waited for. Raises CliError."""
    found = await _one(kube, namespace, job, uid)
    end, waits = time.monotonic() + RELEASE_SECONDS, False
    while found.round is None and await _complete(kube, found) and time.monotonic() < end:
        if not waits:
            click.echo(f"{job}: is Complete; waiting until its server has given the model to the silos", err=True)
        waits = True
        await asyncio.sleep(volumes.LOOK_SECONDS)
        found = await _one(kube, namespace, job, found.uid)
    if found.round is None:
        raise CliError(f"{job}: has no final model yet; `kubectl get fj {job} -n {namespace}` tells where it stands")
    return found


async def _complete(kube: Kube, volume: volumes.Volume) -> bool:
    live = await kube.get(FEDERATED_JOB, volume.job, volume.namespace)
    if live is None or live["metadata"]["uid"] != volume.uid:
        return False
    return is_true((live.get("status") or {}).get("conditions"), "Complete")


@model.command("rm")
@click.argument("job")
@UID
@NAMESPACE
@KUBECONFIG
@CONTEXT
def rm(job: str, uid: str | None, namespace: str | None, kubeconfig: Path | None, context: str | None) -> None:
    """Remove the model volume of JOB, for good."""

    async def work(kube: Kube) -> volumes.Volume:
        found = await _one(kube, namespace or kube.access.namespace, job, uid)
        live = await kube.get(FEDERATED_JOB, job, found.namespace)
        if live is not None and live["metadata"]["uid"] == found.uid and found.round is None:
            raise CliError(f"{job}: has not ended; delete it first, or wait")
        await kube.delete(PVC, found.name, found.namespace)
        return found

    found = with_hub(kubeconfig, context, work)
    click.echo(f"{found.name}: removed")


async def _one(kube: Kube, namespace: str, job: str, uid: str | None) -> volumes.Volume:
    """The newest of that name that has a model, or the one that ``uid`` names. Raises CliError."""
    found = [v for v in await volumes.find(kube, namespace, job) if v.uid.startswith(uid or "")]
    if not found:
        raise CliError(f"{job}: no model volume in namespace {namespace}; `umbel model ls -A` lists all")
    if len(found) > 1 and uid is None:
        with_model = [v for v in found if v.round is not None] or found
        if len(with_model) > 1:
            listed = ", ".join(f"{v.uid[:8]} ({v.finished or 'not finished'})" for v in with_model)
            raise CliError(f"{job}: several jobs had that name: {listed}; name one with --uid")
        return with_model[0]
    return found[-1]
