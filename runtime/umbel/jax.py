"""``umbel.jax``: a client from a training script's own functions. Imports jax."""

from __future__ import annotations

from umbel.client.adapters.jax import federate

__all__ = ["federate"]
