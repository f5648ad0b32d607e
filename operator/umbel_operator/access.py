"""How to reach one API server: from a kubeconfig, or from the pod's service account."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# What of a kubeconfig has a program run, or another file read.
REACHING = ("exec", "auth-provider", "tokenFile", "client-certificate", "client-key", "certificate-authority")
POD_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXEC_SECONDS = 60


class AccessError(Exception):
    """One line: the file, what is wrong with it, what would be right."""


@dataclass(frozen=True, slots=True)
class Access:
    """``authorities``: PEM, None for the system's. ``certificate``, ``key``: PEM of a client certificate.
    ``namespace``: where a command works when none is named."""

    server: str
    authorities: str | None = None
    token: str | None = None
    certificate: str | None = None
    key: str | None = None
    insecure: bool = False
    namespace: str = "default"
    server_name: str | None = None

    @property
    def tls_part(self) -> tuple[object, ...]:
        """What `tls` depends on: a renewed token needs no new context."""
        return self.server, self.authorities, self.certificate, self.key, self.insecure

    def tls(self) -> ssl.SSLContext | None:
        """None for plain http."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.authorities)
        if self.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.certificate and self.key:
            # OpenSSL reads a chain only from a file.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(self.certificate + "\n" + self.key)
                file.flush()
                context.load_cert_chain(file.name)
        return context


def default_kubeconfig() -> Path:
    """As kubectl finds it; of several files in KUBECONFIG the first."""
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named or "~/.kube/config").expanduser()


def in_pod() -> bool:
    return (POD_ACCOUNT / "token").exists()


def pod_account(folder: Path = POD_ACCOUNT) -> Access:
    """Raises AccessError outside a pod, or in one that has no service account token."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").exists():
        raise AccessError("no service account: not in a pod, or without a token; name a kubeconfig")
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        authorities=(folder / "ca.crt").read_text(),
        token=(folder / "token").read_text().strip(),
        namespace=(folder / "namespace").read_text().strip(),
    )


def kubeconfig(path: Path, context: str | None = None, *, foreign: bool = False) -> Access:
    """The named context of a kubeconfig, else its current one. ``foreign``: others have written it, so that it may run
    no program here, and name no file. Raises AccessError."""
    try:
        config = yaml.safe_load(path.read_text())
        name = context or config["current-context"]
        chosen = _named(config, "contexts", "context", name)
        cluster = _named(config, "clusters", "cluster", chosen["cluster"])
        user = _named(config, "users", "user", chosen["user"])
        if foreign and (reaching := next((key for key in REACHING if {**cluster, **user}.get(key)), None)):
            words = "may run no program here and name no file; have the hub's administrator send one with all in it"
            raise AccessError(f"{path}: {reaching}: the hub's kubeconfig {words}")
        return Access(
            server=cluster["server"].rstrip("/"),
            authorities=_data(path, cluster, "certificate-authority"),
            certificate=_data(path, user, "client-certificate"),
            key=_data(path, user, "client-key"),
            token=_token(path, user),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            namespace=chosen.get("namespace") or "default",
            server_name=cluster.get("tls-server-name"),
        )
    except FileNotFoundError as error:
        raise AccessError(f"{error.filename}: no such file; name a kubeconfig, or set KUBECONFIG") from None
    except OSError as error:
        raise AccessError(f"{path}: cannot be read ({error.strerror}); name a kubeconfig") from None
    except (KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise AccessError(f"{path}: is not a kubeconfig ({type(error).__name__}: {error}); name a kubeconfig") from None


def _named(config: Mapping[str, Any], group: str, key: str, name: str) -> dict[str, Any]:
    for entry in config.get(group) or []:
        if entry["name"] == name:
            return dict(entry[key] or {})
    raise ValueError(f"it has no {key} {name!r}")


def _data(path: Path, entry: Mapping[str, Any], name: str) -> str | None:
    if entry.get(f"{name}-data"):
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return Path(path.parent / entry[name]).read_text() if entry.get(name) else None


def _token(path: Path, user: Mapping[str, Any]) -> str | None:
    if user.get("tokenFile"):
        return Path(path.parent / user["tokenFile"]).read_text().strip()
    if user.get("exec"):
        return _from_plugin(user["exec"])
    return str(user["token"]) if user.get("token") else None


def _from_plugin(plugin: Mapping[str, Any]) -> str | None:
    """The token that a cloud's credential plugin prints."""
    info = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {entry["name"]: entry["value"] for entry in plugin.get("env") or []}
    command = [plugin["command"], *(plugin.get("args") or [])]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            capture_output=True,
            timeout=EXEC_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(f"the credential plugin {command[0]} failed: {error}") from None
    return str(json.loads(done.stdout)["status"]["token"])
