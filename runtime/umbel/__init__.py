"""Umbel: federated learning, from a laptop to many clusters.

The public names of the SDK. Each is imported when it is first used, so that a command that needs none of them, or a
client of another framework, does not pay for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umbel.client.api import Buffer, Client, Evaluation, Unsupported, Update, buffer
    from umbel.client.context import Context, Dataset
    from umbel.client.proximal import Proximal

_WHERE = {
    **dict.fromkeys(("Buffer", "Client", "Evaluation", "Unsupported", "Update", "buffer"), "umbel.client.api"),
    **dict.fromkeys(("Context", "Dataset"), "umbel.client.context"),
    "Proximal": "umbel.client.proximal",
}
_ADAPTERS = ("jax", "keras", "sklearn", "torch")

__all__ = ["Buffer", "Client", "Context", "Dataset", "Evaluation", "Proximal", "Unsupported", "Update", "buffer"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name in _ADAPTERS:
        return importlib.import_module(f"umbel.{name}")
    raise AttributeError(f"module 'umbel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ADAPTERS])
