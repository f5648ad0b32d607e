"""``umbel.torch``: a client from a training script's own functions. Imports torch."""

from __future__ import annotations

from umbel.client.adapters.torch import federate

__all__ = ["federate"]
