"""Who is invited to a round.

More are invited than are wanted, since some never answer: the smallest number that brings ``wanted`` updates with 95 %
probability at the observed return rate. A flat surplus would fail small cohorts and waste large ones.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

CONFIDENCE = 0.95


def invitations(wanted: int, rate: float, available: int) -> int:
    """The smallest n with P(Bin(n, rate) ≥ wanted) ≥ `CONFIDENCE`, at most ``available``.

    Bin(n, q) ≥ K exactly if the K-th success comes at trial j ≤ n, which has probability C(j−1, K−1)·q^K·(1−q)^(j−K);
    those are added up from j = K.
    """
    if not 0.0 < rate < 1.0:
        return min(wanted, available) if rate >= 1.0 else available
    log_term = wanted * math.log(rate)
    reached = math.exp(log_term)
    n = wanted
    while reached < CONFIDENCE and n < available:
        log_term += math.log1p(-rate) + math.log(n / (n - wanted + 1))
        n += 1
        reached += math.exp(log_term)
    return min(n, available)


def select(
    candidates: Mapping[str, int], count: int, *, by_examples: bool, seed: int, round: int, attempt: int
) -> dict[str, int]:
    """``count`` of the ``candidates`` (silo: examples), without replacement; the same for the same arguments.

    By examples: each draw in proportion to the examples of those that remain. The ``count`` smallest of −ln(u)/weight
    are such a sample (Efraimidis and Spirakis, 2006).
    """
    generator = random.Random(f"{seed}/{round}/{attempt}")
    keys = {}
    for silo in sorted(candidates):
        weight = candidates[silo] if by_examples else 1
        keys[silo] = -math.log(1.0 - generator.random()) / weight
    chosen = sorted(keys, key=lambda silo: (keys[silo], silo))[:count]
    return {silo: candidates[silo] for silo in sorted(chosen)}
