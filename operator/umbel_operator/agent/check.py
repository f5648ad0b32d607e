"""Whether a silo is whole: what `helm test` asks of it. Nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from umbel_operator import kube
from umbel_operator.access import AccessError
from umbel_operator.agent.credentials import HubCredentials
from umbel_operator.agent.join import JoinError
from umbel_operator.agent.join_store import SecretStore
from umbel_operator.agent.site import Site

Look = tuple[str, str]  # what was looked at, and what is wrong with it, or nothing


def policy(site: Site) -> Look:
    """A silo that allows nothing is as safe as it is useless: its administrator is told."""
    return "the policy", "" if site.policy.images else "allows no image: name patterns in policy.images"


async def joined(silo: kube.Kube, namespace: str, secret: str, credentials: HubCredentials) -> Look:
    """Whether the silo has; what it has of the hub is then in the credentials."""
    try:
        kept = await SecretStore(silo, namespace, secret).load()
    except (kube.ApiError, AccessError, JoinError) as error:
        return "joining", str(error)
    if kept is None or not kept.joined:
        return "joining", "this silo has not joined the hub, or was removed; the agent's log says why"
    credentials.adopt(kept.kubeconfig)
    return "joining", ""


async def hub(credentials: HubCredentials) -> Look:
    """The very call that the agent begins with."""
    try:
        reach = credentials.read()
        api = credentials.client()
    except AccessError as error:
        return "the hub", str(error)
    try:
        await api.list(kube.FEDERATED_CLIENT, reach.namespace)
    except (kube.ApiError, AccessError) as error:
        return "the hub", f"{reach.server}: {error}"
    finally:
        await api.close()
    return "the hub", ""


async def volumes(silo: kube.Kube, namespace: str, site: Site) -> AsyncIterator[Look]:
    """Of each data set that has one."""
    for name, dataset in site.datasets.items():
        if dataset.volume_claim is None:
            continue
        look = f"the volume of data set {name}"
        try:
            found = await silo.get(kube.PVC, dataset.volume_claim, namespace)
        except (kube.ApiError, AccessError) as error:
            yield look, str(error)
            continue
        phase = ((found or {}).get("status") or {}).get("phase")
        if found is None:
            yield look, f"there is no PersistentVolumeClaim {dataset.volume_claim} in namespace {namespace}"
        elif phase == "Lost":
            yield look, f"PersistentVolumeClaim {dataset.volume_claim} has lost its volume"
        elif phase == "Bound":
            yield look, ""
        else:  # no fault: a local volume is bound only when its first pod is placed
            yield f"{look} (PersistentVolumeClaim {dataset.volume_claim} is {phase or 'new'}, not Bound yet)", ""
