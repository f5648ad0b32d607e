"""Line and stacked-bar charts as SVG text. Colours are CSS classes: a page is light or dark as its reader wants it."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 220
WIDE = 1140
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 26
MOST_BARS = 150  # more rounds than this are drawn in groups
MOST_POINTS = 600  # of one line; more would not be seen


@dataclass(frozen=True, slots=True)
class Series:
    """``css``: the class that colours it; ``points``: (x, y) by ascending x."""

    name: str
    css: str
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Frame:
    """Maps data to a plot of ``width`` by HEIGHT pixels."""

    width: int
    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.x0) / ((self.x1 - self.x0) or 1.0) * (self.width - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y0) / ((self.y1 - self.y0) or 1.0) * (HEIGHT - TOP - BOTTOM)


def lines(series: Sequence[Series]) -> str:
    """Each series a line with its last point marked; y over the range of the data."""
    xs = [x for s in series for x, _ in s.points]
    ys = [y for s in series for _, y in s.points]
    ticks = nice_ticks(min(ys), max(ys))
    frame = Frame(WIDTH, min(xs), max(xs), min(ticks[0], *ys), max(ticks[-1], *ys))
    body = [*_y_axis(frame, ticks, number), *_round_axis(frame, min(xs), max(xs))]
    for s in reversed(series):  # the first named is drawn on top
        points = thin(s.points)
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        body.append(f'<polyline class="line {s.css}" points="{path}"/>')
        dots = points if len(points) <= 60 else points[-1:]
        for x, y in dots:
            tip = html.escape(f"round {x}: {s.name} {y:.4g}")
            at = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.5"'
            body.append(f'<circle class="dot {s.css}" {at}><title>{tip}</title></circle>')
    return _svg(WIDTH, body)


def bars(series: Sequence[Series], labels: Sequence[str], unit: Callable[[float], str]) -> str:
    """One stacked bar a round, or a mean over a group of rounds; ``labels`` name the rounds."""
    groups = grouped(len(labels))
    stacks = [[sum(s.points[i][1] for i in g) / len(g) for s in series] for g in groups]
    top = max((sum(stack) for stack in stacks), default=0.0)
    ticks = nice_ticks(0.0, top or 1.0)
    frame = Frame(WIDE, 0, len(groups), 0.0, max(ticks[-1], top))
    step = frame.x(1) - frame.x(0)
    gap = min(3.0, step * 0.2)
    body = [*_y_axis(frame, ticks, unit)]
    for number, (group, stack) in enumerate(zip(groups, stacks, strict=True)):
        name = labels[group[0]] if len(group) == 1 else f"{labels[group[0]]} to {labels[group[-1]]}, mean"
        tip = ", ".join(f"{s.name} {unit(v)}" for s, v in zip(series, stack, strict=True) if v)
        body.append(f"<g><title>{html.escape(f'round {name}: {tip}')}</title>")
        base = 0.0
        left, width = frame.x(number) + gap / 2, max(0.5, min(step - gap, 48.0))
        left += (step - gap - width) / 2
        for s, value in zip(series, stack, strict=True):
            if value:
                y, height = frame.y(base + value), frame.y(base) - frame.y(base + value)
                body.append(
                    f'<rect class="{s.css}" x="{left:.1f}" y="{y:.2f}" width="{width:.1f}" height="{height:.2f}"/>'
                )
            base += value
        body.append("</g>")
    body += _bar_axis(frame, groups, labels)
    return _svg(WIDE, body)


def grouped(count: int) -> list[range]:
    """``count`` rounds in at most MOST_BARS runs of equal length (the last may be shorter)."""
    size = max(1, math.ceil(count / MOST_BARS))
    return [range(start, min(count, start + size)) for start in range(0, count, size)]


def grouping_note(count: int) -> str:
    size = max(1, math.ceil(count / MOST_BARS))
    return "One bar is one round." if size == 1 else f"One bar is the mean of {size} rounds."


def thin(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """At most about MOST_POINTS of them, first and last included."""
    step = max(1, math.ceil(len(points) / MOST_POINTS))
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that enclose [low, high]."""
    if high <= low:
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def number(value: float) -> str:
    return f"{value:.4g}"


def plain(value: float) -> str:
    """A count, or the mean of some."""
    return f"{value:.3g}"


def _y_axis(frame: Frame, ticks: Sequence[float], unit: Callable[[float], str]) -> Iterator[str]:
    for tick in ticks:
        y = frame.y(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{frame.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 3.5:.1f}" text-anchor="end">{html.escape(unit(tick))}</text>'


def _round_axis(frame: Frame, first: int, last: int) -> Iterator[str]:
    spacing = (last - first) / 12
    inside = {first} | {round(t) for t in nice_ticks(first, last, 6) if first + spacing <= t <= last}
    for tick in sorted(inside):
        yield f'<text x="{frame.x(tick):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{tick}</text>'


def _bar_axis(frame: Frame, groups: Sequence[range], labels: Sequence[str]) -> Iterator[str]:
    every = max(1, math.ceil(len(groups) / 20))
    for position in range(0, len(groups), every):
        label = labels[groups[position][0]].split(" ")[0]
        at = f'x="{frame.x(position + 0.5):.1f}" y="{HEIGHT - 6}"'
        yield f'<text {at} text-anchor="middle">{html.escape(label)}</text>'


def _svg(width: int, body: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {HEIGHT}" role="img">{"".join(body)}</svg>'
