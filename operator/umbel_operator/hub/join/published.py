"""What the operator tells administrators for their invitations: where silos join, and whom they trust there."""

from __future__ import annotations

import asyncio
from typing import Any

from umbel_operator import logs, names
from umbel_operator.access import AccessError
from umbel_operator.hub.authority import Authority
from umbel_operator.hub.settings import Joining, Settings
from umbel_operator.kube import ApiError, Kube

NAME = "umbel-join"  # a ConfigMap of the operator's namespace
URL, TRUST_DOMAIN, AUTHORITIES = "url", "trustDomain", "authorities"
AGAIN_SECONDS, LOOK_SECONDS = 5.0, 600.0


async def keep(kube: Kube, settings: Settings, joining: Joining, authority: Authority) -> None:
    """For ever."""
    while True:
        version = authority.version
        try:
            await kube.apply(config_map(settings, joining, authority.bundle), manager=names.HUB_MANAGER)
            wait = LOOK_SECONDS
        except (ApiError, AccessError) as error:
            logs.warning("where silos join was not told", error=str(error))
            wait = AGAIN_SECONDS
            await asyncio.sleep(AGAIN_SECONDS)
        await authority.changed(version, wait)


def config_map(settings: Settings, joining: Joining, bundle: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": settings.namespace, "labels": {names.MANAGED_BY: "umbel"}},
        "data": {URL: joining.url, TRUST_DOMAIN: settings.trust_domain, AUTHORITIES: bundle},
    }
