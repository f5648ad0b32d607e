"""``umbel.sklearn``: a client from a training script's own functions. Imports sklearn."""

from __future__ import annotations

from umbel.client.adapters.sklearn import federate

__all__ = ["federate"]
