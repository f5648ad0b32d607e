"""Kubernetes quantities as exact numbers: 500m, 2, 1.5Gi, 1e3."""

from __future__ import annotations

import re
from fractions import Fraction

from umbel.manifest.scalars import QUANTITY

DECIMAL = (-9, -6, -3, 3, 6, 9, 12, 15, 18)
SUFFIXES = {
    "": Fraction(1),
    **{
        suffix: Fraction(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{suffix}i": Fraction(1024) ** (power + 1) for power, suffix in enumerate("KMGTPE")},
}


def parse(text: str | int) -> Fraction:
    """Raises ValueError for what Kubernetes would refuse."""
    match = re.match(QUANTITY, str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, suffix = match[1], match[3] or ""
    if suffix[:1] in ("e", "E") and suffix[1:].lstrip("+-").isdigit():
        exponent = int(suffix[1:])
        if abs(exponent) > 30:
            raise ValueError(f"{text!r} is out of range")
        return Fraction(number) * Fraction(10) ** exponent
    return Fraction(number) * SUFFIXES[suffix]
