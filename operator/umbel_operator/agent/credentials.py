"""The silo's access to the hub: a kubeconfig with a token that lives for a day and is renewed at half of it."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import yaml

from umbel.wire.pki import write_private
from umbel_operator import kube, logs, silo_access
from umbel_operator.access import Access, AccessError, kubeconfig

ADD_AGAIN = (
    "the hub does not accept this silo's token any more: "
    "have the hub's administrator add it again with `umbel silo add`"
)
RENEW_AFTER = 0.5  # of a token's life: a silo may be away for the other half
SECRET_KEY = "kubeconfig"


class HubCredentials:
    """``path``: the kubeconfig that the hub gave the silo; None: only what is adopted counts. Renewed tokens go there,
    or where it cannot be written, to a copy (and the copy to a Secret, if one is named). Of file and copy the one whose
    token ends later counts, so that a silo that is added again goes on with the new file."""

    def __init__(self, path: Path | None) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # made when it is needed: a kill leaves it behind
        self.path = path or self._own("given")

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def _own(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="umbel-hub-")
        return Path(self._folder.name) / name

    @property
    def _copy(self) -> Path | None:
        return None if self._folder is None else self._own("kubeconfig")

    def read(self) -> Access:
        """Raises AccessError."""
        if self._copy is None or not self._copy.exists():
            return kubeconfig(self.path, foreign=True)
        copy = kubeconfig(self._copy, foreign=True)
        try:
            given = kubeconfig(self.path, foreign=True)
        except AccessError:
            return copy
        return copy if _end(copy) > _end(given) else given

    def stamp(self) -> object:
        """Another whenever `read` may find something else."""
        return tuple(None if path is None else _stamp(path) for path in (self.path, self._copy))

    def client(self) -> kube.Kube:
        """Raises AccessError."""
        self.read()
        return kube.Kube(self.read, self.stamp)

    def adopt(self, text: str) -> None:
        """A renewed kubeconfig that an earlier agent kept."""
        write_private(self._own("kubeconfig"), text.encode())

    def renewed(self, token: str) -> str:
        """Keeps the new token; the kubeconfig that holds it. Raises AccessError."""
        text = written(replace(self.read(), token=token))
        try:
            write_private(self.path, text.encode())
        except OSError:
            self.adopt(text)
        return text


async def fetch(silo: kube.Kube, namespace: str, secret: str, credentials: HubCredentials) -> None:
    """Take over what is in the Secret, if there is anything."""
    found = await silo.get(kube.SECRET, secret, namespace)
    data = ((found or {}).get("data") or {}).get(SECRET_KEY)
    if data:
        credentials.adopt(base64.b64decode(data).decode())


async def keep(silo: kube.Kube, namespace: str, secret: str, text: str) -> None:
    await silo.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "umbel"}},
            "type": "Opaque",
            "data": {SECRET_KEY: base64.b64encode(text.encode()).decode()},
        },
        manager="umbel-agent",
    )


class Tokens(Protocol):
    """Where an agent has its next token from. ``refused``: what is said when the hub does not accept the present one;
    ``asks_when_refused``: whether to renew then, due or not."""

    @property
    def refused(self) -> str: ...

    @property
    def asks_when_refused(self) -> bool: ...

    async def renew(self, hub: kube.Kube, namespace: str) -> None: ...

    async def leave(self) -> None:
        """The silo was removed from the hub, and its clients are."""
        ...


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Of a silo that was added by hand: its token renews itself. ``silo`` and ``secret``: where it goes too."""

    credentials: HubCredentials
    silo: kube.Kube | None = None
    namespace: str = ""
    secret: str = ""
    refused: str = ADD_AGAIN
    asks_when_refused: bool = False

    async def renew(self, hub: kube.Kube, namespace: str) -> None:
        """Raises ApiError, AccessError."""
        text = self.credentials.renewed(await silo_access.request_token(hub, namespace))
        logs.info("the hub gave a new token")
        if self.silo is not None and self.secret:
            await keep(self.silo, self.namespace, self.secret, text)

    async def leave(self) -> None:
        return None


def life(token: str | None) -> tuple[float, float] | None:
    """When a service account's token begins and ends; None: it says nothing of the kind, and is not renewed."""
    try:
        claims: Mapping[str, Any] = json.loads(_decoded((token or "").split(".")[1]))
        return float(claims["iat"]), float(claims["exp"])
    except (IndexError, KeyError, ValueError, TypeError):
        return None


def renew_at(token: str | None) -> float | None:
    lived = life(token)
    return None if lived is None else lived[0] + RENEW_AFTER * (lived[1] - lived[0])


def written(reach: Access) -> str:
    """A kubeconfig of one context, with everything in it."""
    cluster: dict[str, Any] = {"server": reach.server}
    if reach.authorities:
        cluster["certificate-authority-data"] = base64.b64encode(reach.authorities.encode()).decode()
    if reach.insecure:
        cluster["insecure-skip-tls-verify"] = True
    if reach.server_name:
        cluster["tls-server-name"] = reach.server_name
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hub", "cluster": cluster}],
        "users": [{"name": "silo", "user": {"token": reach.token}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "silo", "namespace": reach.namespace}}],
        "current-context": "hub",
    }
    return yaml.safe_dump(config, sort_keys=False)


def _end(reach: Access) -> float:
    lived = life(reach.token)
    return lived[1] if lived else 0.0


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _stamp(path: Path) -> object:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
