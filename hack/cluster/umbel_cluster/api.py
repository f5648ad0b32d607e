"""A control plane without a node, on loopback: enough for custom resources, RBAC, watches and garbage collection."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import plane
from .pki import write_kubeconfig
from .plane import ControlPlane, Ports
from .processes import Components, free_port, stopping


class Api:
    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._components = control.components
        self._numbers = itertools.count()
        self.folder = control.folder
        self.kubeconfig = control.kubeconfig
        self.authority = control.authority.certificate
        self.url = control.url
        self.client = control.client
        self._audit = control.audit

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return plane.kubectl(self.kubeconfig, *args, input=input)

    def calls(self, user: str) -> Iterator[dict[str, Any]]:
        """Everything that a user has asked of the API server, as its audit log has it."""
        assert self._audit is not None
        with self._audit.open() as log:
            for line in log:
                if not line.endswith("\n") or f'"{user}"' not in line:
                    continue
                if (event := json.loads(line))["user"].get("username") == user:
                    yield event

    def kill(self, component: str, signum: int = signal.SIGKILL) -> None:
        """etcd, apiserver or controller-manager; returns when it is gone."""
        self._components.stop(component, signum)

    def start(self, component: str) -> None:
        """Returns when the API server is ready, if it is that; else at once."""
        if component == "apiserver":
            self._control.start_api()
        else:
            self._components.start(component)

    def restart_apiserver(self, signum: int = signal.SIGKILL) -> None:
        self.kill("apiserver", signum)
        self.start("apiserver")

    def kubeconfig_for(self, namespace: str, serviceaccount: str, *, duration: str = "24h") -> Path:
        """A kubeconfig of its own with a token of the service account."""
        token = self.kubectl("create", "token", serviceaccount, "-n", namespace, f"--duration={duration}").strip()
        path = self.folder / f"{namespace}-{serviceaccount}-{next(self._numbers)}.kubeconfig"
        return write_kubeconfig(path, self.url, self.authority, {"token": token}, namespace)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Api]:
    """An API server with its controllers for as long as the block lasts; everything is in `folder`."""
    ports = Ports(*(free_port() for _ in range(5)))
    with stopping(Components(folder / "logs")) as components:
        # Services have addresses of this machine's, so that what stands in for a pod can be reached at them.
        services = f"127.{64 + ports.api % 64}.0.0/16"
        control = ControlPlane(folder, components, "127.0.0.1", [], ports, services, audit=folder / "audit.log")
        control.start("controller-manager")
        yield Api(control)
