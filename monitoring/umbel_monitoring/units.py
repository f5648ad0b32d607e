"""Numbers as Grafana writes them, in the units that the pages use."""

from __future__ import annotations

import math

SECONDS = ((31557600, "year"), (86400, "day"), (3600, "h"), (60, "min"), (1, "s"))


def written(value: float, unit: str) -> str:
    if unit == "s":
        return _seconds(value)
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit in ("bytes", "Bps"):
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB")) + ("/s" if unit == "Bps" else "")
    if unit == "reqps":
        return f"{value:.3g} req/s"
    return _scaled(value, 1000, ("", " K", " Mil", " Bil")) if unit == "short" else f"{value:.4g}"


def size(value: float, unit: str) -> float:
    """Of the unit in which `written` writes a value, in that of the value: 60 for minutes."""
    if unit == "s":
        return next((one for one, _ in SECONDS if abs(value) >= one), 1e-3)
    if unit in ("bytes", "Bps", "short"):
        base = 1000 if unit == "short" else 1024
        return float(base ** max(0, int(math.log(abs(value), base)))) if abs(value) >= 1 else 1.0
    return 0.01 if unit == "percentunit" else 1.0


def _seconds(value: float) -> str:
    for size, name in SECONDS:
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return f"{value * 1000:.3g} ms" if value else "0 s"


def _scaled(value: float, base: int, names: tuple[str, ...]) -> str:
    for name in names[:-1]:
        if abs(value) < base:
            return f"{value:.3g}{name}" if name.startswith(" ") or not name else f"{value:.3g} {name}"
        value /= base
    return f"{value:.3g} {names[-1].strip()}"
