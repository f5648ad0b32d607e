"""Removing a silo from the hub: first what it may do, then all that there is of it."""

from __future__ import annotations

import asyncio
import time

from umbel.cli.errors import CliError
from umbel_operator import names
from umbel_operator.kube import NAMESPACE, SERVICE_ACCOUNT, SILO, Kube

LOOK_SECONDS = 0.5


async def remove(kube: Kube, name: str, patience: float) -> str:
    """What is still there in the end; empty: nothing. May be repeated. Raises ApiError."""
    namespace = names.silo_namespace(name)
    removed = await kube.delete(SILO, name)
    # The account's tokens end with it, before the namespace has been emptied.
    await kube.delete(SERVICE_ACCOUNT, names.AGENT, namespace)
    if not await kube.delete(NAMESPACE, namespace) and not removed:
        raise CliError(f"the hub has no silo {name!r}; `umbel silo list` shows them")
    end = time.monotonic() + patience
    while left := await _left(kube, name):
        if time.monotonic() > end:
            return left
        await asyncio.sleep(LOOK_SECONDS)
    return ""


async def _left(kube: Kube, name: str) -> str:
    if await kube.get(SILO, name) is not None:
        return f"Silo {name}"
    namespace = names.silo_namespace(name)
    return f"namespace {namespace}" if await kube.get(NAMESPACE, namespace) is not None else ""
