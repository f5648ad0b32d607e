"""Inviting a silo: what its agent will need at the hub is made, and one token that lets it in."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import click

from umbel.cli.errors import CliError
from umbel.wire.pki import write_private
from umbel_operator import joining, names, silo_access
from umbel_operator.conditions import timestamp
from umbel_operator.hub.join import decisions, published
from umbel_operator.hub.join.decisions import Invitation
from umbel_operator.joining import Bundle
from umbel_operator.kube import CONFIG_MAP, SILO, Kube

MANAGER = "umbel-silo-invite"
TOKEN_BYTES = 16
LIFE_SECONDS = 86_400.0
PATIENCE = 30.0  # seconds: a hub that was just installed says within a few where silos join
LOOK_SECONDS = 1.0


async def invite(kube: Kube, silo: str, namespace: str, url: str, now: float) -> Bundle:
    """An older invitation of this silo, and the key of an agent that joined by it, count no more. Raises ApiError."""
    told = await _published(kube, namespace)
    token, expires = secrets.token_urlsafe(TOKEN_BYTES), now + LIFE_SECONDS
    await silo_access.make(kube, silo, manager=MANAGER, renews_itself=False)
    await kube.apply(_secret(silo, Invitation(joining.hashed(token), expires)), manager=MANAGER)
    invited = {"metadata": {"annotations": {names.INVITED_UNTIL: timestamp(expires)}}}
    await kube.patch(SILO, silo, None, invited)
    return Bundle(
        silo=silo,
        url=url.rstrip("/") or told[published.URL],
        trust_domain=told[published.TRUST_DOMAIN],
        authorities=told[published.AUTHORITIES],
        token=token,
        expires=timestamp(expires),
    )


async def _published(kube: Kube, namespace: str) -> dict[str, str]:
    """Where silos join. Raises CliError where the hub does not say so in time."""
    end, waits = time.monotonic() + PATIENCE, False
    while (found := await kube.get(CONFIG_MAP, published.NAME, namespace)) is None:
        if time.monotonic() > end:
            raise CliError(
                f"the hub has no join service: in namespace {namespace} there is no ConfigMap {published.NAME}; "
                "start the operator with --join, or give the silo a kubeconfig by `umbel silo add`"
            )
        if not waits:
            click.echo(f"waiting up to {PATIENCE:.0f} s for the hub to say where silos join", err=True)
        waits = True
        await asyncio.sleep(LOOK_SECONDS)
    return dict(found["data"])


def write(path: Path, text: str) -> None:
    """For its owner's eyes only. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(13, "cannot be written", str(path))
    write_private(path, text.encode())


def _secret(silo: str, invitation: Invitation) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": decisions.SECRET,
            "namespace": names.silo_namespace(silo),
            "labels": {names.MANAGED_BY: "umbel"},
        },
        "data": {key: b64encode(text.encode()).decode() for key, text in invitation.data().items()},
    }
