"""What Pod Security `restricted` asks of a pod and of its containers, as user of the client image."""

from __future__ import annotations

from typing import Any

USER = 65532


def pod() -> dict[str, Any]:
    """A pod's securityContext; its volumes are the user's to write to."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container() -> dict[str, Any]:
    """A container's securityContext."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
