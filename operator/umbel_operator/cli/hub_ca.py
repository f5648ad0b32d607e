"""``umbel hub ca``: the authority that every certificate of the federation comes from."""

from __future__ import annotations

import time
from pathlib import Path

import click

from umbel.cli.errors import CliError
from umbel.wire.pki import write_private
from umbel_operator.cli.options import CONTEXT, KUBECONFIG, with_hub
from umbel_operator.cli.silo import NAMESPACE
from umbel_operator.conditions import timestamp
from umbel_operator.hub import rotation
from umbel_operator.hub.rotation import CA_SECRET, Keys
from umbel_operator.kube import SECRET, ApiError, Kube, Object

HOUR = 3600.0


@click.group("ca")
def ca() -> None:
    """The hub's certificate authority."""


@ca.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@NAMESPACE
@KUBECONFIG
@CONTEXT
def backup(file: Path, namespace: str, kubeconfig: Path | None, context: str | None) -> None:
    """Write the authority's certificate and key to FILE. Who reads it can be any silo."""
    keys = with_hub(kubeconfig, context, lambda kube: _keys(kube, namespace))[1]
    try:
        write_private(file, rotation.saved(keys))
    except OSError as error:
        raise CliError(f"{file}: cannot be written ({error.strerror})") from None
    click.echo(f"{file}: {_name(keys)}; keep it where no silo can read it")


@ca.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Also where another authority is: what it signed is void at once.")
@NAMESPACE
@KUBECONFIG
@CONTEXT
def restore(file: Path, replace: bool, namespace: str, kubeconfig: Path | None, context: str | None) -> None:
    """Make the authority of FILE the hub's."""
    try:
        keys = rotation.loaded(file.read_bytes())
    except OSError as error:
        raise CliError(f"{file}: cannot be read ({error.strerror}); name a file of `umbel hub ca backup`") from None
    except ValueError as error:
        raise CliError(f"{file}: is no authority ({error}); name a file of `umbel hub ca backup`") from None
    with_hub(kubeconfig, context, lambda kube: _restore(kube, namespace, keys, replace))
    click.echo(f"the hub's authority is {_name(keys)}")


@ca.command("rotate")
@click.option(
    "--overlap",
    "hours",
    type=click.FloatRange(min=0),
    default=rotation.OVERLAP_SECONDS / HOUR,
    show_default=True,
    help="Hours of each of the two phases.",
)
@NAMESPACE
@KUBECONFIG
@CONTEXT
def rotate(hours: float, namespace: str, kubeconfig: Path | None, context: str | None) -> None:
    """Put a new authority in the place of the present one, without a gap.

    For --overlap hours both are trusted and the present one signs; then the new one signs, and both are trusted for as
    long again; then the present one goes. Silos that are away for all that time have to be invited again: with less
    than 25 hours, also those that only renew in time.
    """
    began = time.time()
    with_hub(kubeconfig, context, lambda kube: _rotate(kube, namespace, hours * HOUR, began))
    signs, ends = timestamp(began + hours * HOUR), timestamp(began + 2 * hours * HOUR)
    click.echo(f"the new authority is trusted now, signs from {signs}, and is the only one from {ends}")


async def _keys(kube: Kube, namespace: str) -> tuple[Object, Keys]:
    live = await kube.get(SECRET, CA_SECRET, namespace)
    if live is None:
        raise CliError(f"namespace {namespace} has no Secret {CA_SECRET}: no operator has run there")
    try:
        return live, rotation.read(live)
    except ValueError as error:
        raise CliError(str(error)) from None


async def _restore(kube: Kube, namespace: str, keys: Keys, replace: bool) -> None:
    live = await kube.get(SECRET, CA_SECRET, namespace)
    if live is None:
        await kube.create(rotation.created(keys, namespace))
        return
    if not replace and not _same(live, keys):
        raise CliError(
            f"the hub has another authority (Secret {CA_SECRET} in namespace {namespace}); "
            "with --replace its certificates are void, and silos have to be invited again"
        )
    await _write(kube, namespace, live, keys)


async def _rotate(kube: Kube, namespace: str, overlap: float, now: float) -> None:
    live, keys = await _keys(kube, namespace)
    try:
        following = rotation.begun(keys, overlap, now)
    except ValueError as error:
        raise CliError(str(error)) from None
    await _write(kube, namespace, live, following)


async def _write(kube: Kube, namespace: str, live: Object, keys: Keys) -> None:
    """As it was read, or not at all."""
    body = rotation.written(keys, namespace)
    body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    try:
        await kube.patch(SECRET, CA_SECRET, namespace, body)
    except ApiError as error:
        if error.status == 409:
            raise CliError(f"Secret {CA_SECRET} was changed by somebody else meanwhile; try again") from None
        raise


def _same(live: Object, keys: Keys) -> bool:
    try:
        return rotation.read(live).key == keys.key
    except ValueError:
        return False


def _name(keys: Keys) -> str:
    certificate = keys.authority().certificate
    name = certificate.subject.rfc4514_string().removeprefix("CN=")
    return f"{name}, until {certificate.not_valid_after_utc:%Y-%m-%d}"
