"""``umbel.keras``: a client from a training script's own functions. Imports keras."""

from __future__ import annotations

from umbel.client.adapters.keras import federate

__all__ = ["federate"]
