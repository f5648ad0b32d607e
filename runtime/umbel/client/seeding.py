"""Randomness that depends on the job's seed, the round and the silo, and on nothing else."""

from __future__ import annotations

import hashlib
import random
import sys

import numpy as np


def sequence(seed: int, round_: int, silo: str) -> np.random.SeedSequence:
    """Independent streams for every (seed, round, silo), the same on every machine; not the built-in hash of ``silo``,
    which differs from process to process."""
    name = int.from_bytes(hashlib.sha256(silo.encode()).digest()[:8], "little")
    return np.random.SeedSequence([seed, round_, name])


def seed_globals(seed: int, round_: int, silo: str) -> None:
    """Seed the generators that a user's libraries draw from without asking: random, numpy, and torch if it is
    imported. Keras draws its own seeds from the first."""
    first, second, third = (int(n) for n in sequence(seed, round_, silo).generate_state(3))
    random.seed(first)
    np.random.seed(second)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(third)
