"""What is in the silo's cluster of one client, and what to do about it. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from umbel_operator.agent import identity
from umbel_operator.agent.backends.kubernetes import manifests
from umbel_operator.agent.backends.kubernetes.actions import Apply, Delete, Label, MakeKey
from umbel_operator.agent.backends.kubernetes.diagnosis import diagnose, final_round, running
from umbel_operator.agent.federatedclient import JOB_UID, FederatedClient
from umbel_operator.agent.holding import GOING_SECONDS, Diagnosis
from umbel_operator.agent.plan import Clocks, Draft, Object
from umbel_operator.agent.site import Site
from umbel_operator.conditions import seconds
from umbel_operator.names import DIGEST


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there of one client, of any job. ``dataset_volume``: the claim that the site file names for its data
    set, None when there is none such."""

    deployments: tuple[Object, ...] = ()
    secrets: tuple[Object, ...] = ()
    network_policies: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    dataset_volume: Object | None = None


class KubernetesHolding:
    """``client``: None when it is gone. ``namespace``: where everything is made."""

    def __init__(self, client: FederatedClient | None, site: Site, seen: Seen, namespace: str) -> None:
        self._asked = client
        self._site = site
        self._seen = seen
        self._namespace = namespace

    @property
    def _client(self) -> FederatedClient:
        """Of one that is gone nothing is asked but `stop` and `leave`."""
        assert self._asked is not None
        return self._asked

    @property
    def key(self) -> identity.PrivateKey | None:
        secret = self._own(self._seen.secrets)
        try:
            return identity.load_key(base64.b64decode(((secret or {}).get("data") or {})["tls.key"]))
        except (KeyError, ValueError):
            return None

    @property
    def begun(self) -> float | None:
        """The state volume is made with the first start, and outlives whatever else there is."""
        made = ((self._own(self._seen.volumes) or {}).get("metadata") or {}).get("creationTimestamp")
        return seconds(made) if made else None

    @property
    def runs(self) -> bool:
        found = self._own(self._seen.deployments)
        return found is not None and bool(found["spec"].get("replicas"))

    @property
    def waits(self) -> bool:
        return bool(self._seen.deployments) and not running(self._seen.pods)

    @property
    def final_round(self) -> int | None:
        return final_round(self._seen.pods, self._client.job.uid)

    @property
    def remains(self) -> bool:
        seen = self._seen
        return bool(seen.deployments or seen.pods or seen.secrets or seen.network_policies)

    def clear(self, draft: Draft) -> None:
        for volume in self._seen.volumes:
            if not self._is_own(volume):
                self._leave(volume, draft)
        draft.actions += [
            _delete("Deployment", obj)
            for obj in self._seen.deployments
            if not self._is_own(obj) and "deletionTimestamp" not in obj["metadata"]
        ]

    def make_key(self, draft: Draft) -> None:
        if _going(self._seen.secrets):
            draft.look_again(GOING_SECONDS)
            return
        draft.actions += [_delete("Secret", secret) for secret in self._seen.secrets]
        draft.actions.append(MakeKey(manifests.key_secret(self._client, self._namespace)))
        draft.look_again(0.0)

    def install(self, draft: Draft) -> None:
        client = self._client
        wanted = manifests.certificate_secret(client, self._namespace, client.certificate, client.authorities)
        secret = self._own(self._seen.secrets) or {}
        data = secret.get("data") or {}
        if _differs(wanted, secret) or any(data.get(name) != value for name, value in wanted["data"].items()):
            draft.actions.append(Apply(wanted))

    def run(self, wanted: bool, draft: Draft) -> None:
        """Makes or scales the Deployment, and what it needs."""
        client, site, seen = self._client, self._site, self._seen
        found = self._own(seen.deployments)
        server = client.server or (manifests.server_of(found) if found else None)
        if _going(seen.deployments):
            draft.look_again(GOING_SECONDS)
        elif server is not None and (found or wanted):
            if wanted:
                self._ensure_volume(draft)
            policy = manifests.network_policy(client, site, self._namespace, server)
            before = self._own(seen.network_policies)
            if before is None or _differs(policy, before):
                draft.actions.append(Apply(policy))
            replicas = int(wanted)
            deployment = manifests.deployment(client, site, self._namespace, server, replicas)
            if found is None or _differs(deployment, found) or found["spec"].get("replicas") != replicas:
                draft.actions.append(Apply(deployment))

    def stop(self, draft: Draft) -> None:
        """The NetworkPolicy last: a pod that is still ending is never without it."""
        seen = self._seen
        for kind, found in (
            ("Deployment", seen.deployments),
            ("Secret", seen.secrets),
            ("NetworkPolicy", () if seen.pods else seen.network_policies),
        ):
            draft.actions += [_delete(kind, obj) for obj in found if "deletionTimestamp" not in obj["metadata"]]

    def leave(self, draft: Draft) -> None:
        for volume in self._seen.volumes:
            self._leave(volume, draft)

    def diagnose(self, clocks: Clocks) -> Diagnosis:
        return diagnose(
            [pod for pod in self._seen.pods if self._is_own(pod)],
            deployment=self._own(self._seen.deployments),
            unbound=self._unbound(),
            pending_seconds=clocks.pending_seconds,
            now=clocks.now,
        )

    # ---- pieces

    def _unbound(self) -> list[str]:
        dataset, named = self._client.dataset, self._seen.dataset_volume
        unbound = [] if _bound(self._own(self._seen.volumes)) else ["the state volume"]
        if self._site.datasets[dataset].volume_claim is not None:
            if named is None:
                unbound.append(f"the volume of {dataset}, which does not exist")
            elif not _bound(named):
                unbound.append(f"the volume of {dataset}")
        return unbound

    def _ensure_volume(self, draft: Draft) -> None:
        """A volume that is there stays as it is: of its spec nothing may be changed but a size that grows."""
        found = self._own(self._seen.volumes)
        if found is None:
            draft.actions.append(Apply(manifests.state_volume(self._client, self._site, self._namespace)))
        elif manifests.RETAINED in found["metadata"].get("labels", {}):
            labels = {manifests.RETAINED: None}
            draft.actions.append(Label("PersistentVolumeClaim", found["metadata"]["name"], labels))

    def _leave(self, volume: Object, draft: Draft) -> None:
        metadata = volume["metadata"]
        if "deletionTimestamp" in metadata:
            return
        if not self._site.retain_state:
            draft.actions.append(_delete("PersistentVolumeClaim", volume))
        elif manifests.RETAINED not in metadata.get("labels", {}):
            draft.actions.append(Label("PersistentVolumeClaim", metadata["name"], {manifests.RETAINED: "true"}))

    def _own(self, found: Iterable[Object]) -> Object | None:
        mine = (obj for obj in found if self._is_own(obj) and "deletionTimestamp" not in obj["metadata"])
        return next(mine, None)

    def _is_own(self, obj: Object) -> bool:
        return bool((obj["metadata"].get("labels") or {}).get(JOB_UID) == self._client.job.uid)


def _delete(kind: str, obj: Object) -> Delete:
    return Delete(kind, obj["metadata"]["name"], obj["metadata"].get("uid"))


def _bound(volume: Object | None) -> bool:
    return bool(((volume or {}).get("status") or {}).get("phase") == "Bound")


def _differs(wanted: Object, found: Object) -> bool:
    annotations = (found.get("metadata") or {}).get("annotations") or {}
    return bool(annotations.get(DIGEST) != wanted["metadata"]["annotations"][DIGEST])


def _going(found: Iterable[Object]) -> bool:
    return any("deletionTimestamp" in obj["metadata"] for obj in found)
