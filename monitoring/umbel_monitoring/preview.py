"""Draw a preview of the pages from a Prometheus's data: same queries, titles, units and thresholds, no Grafana.

python -m umbel_monitoring.preview http://127.0.0.1:9090 --start 1790000000 --end 1790000600 --out docs
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from umbel_monitoring.asking import Line, Source
from umbel_monitoring.units import size, written

CHART = Path(__file__).parents[2] / "helm/umbel-hub/dashboards"
COLUMNS = 24
WIDTH, ROW = 15.0, 0.42  # inches: of the page, and of one unit of Grafana's height
PALETTE = ("#3f9b4f", "#e0a800", "#4a90d9", "#d9534f", "#8e6bbf", "#e67e22", "#17a2b8", "#7f8c8d")
NAMED = {"green": "#3f9b4f", "orange": "#e67e22", "red": "#d9534f", "blue": "#4a90d9", "text": "#222222"}
NOTE = "Preview, drawn from the data of a Prometheus; Grafana draws it in its own way."
Panel = Mapping[str, Any]
Place = tuple[float, float, float, float]  # left, bottom, width, height


def draw(page: Mapping[str, Any], source: Source) -> Figure:
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in page["panels"]) + 2
    figure = Figure(figsize=(WIDTH, height * ROW), dpi=75, facecolor="#f4f5f5")
    figure.text(0.01, 1 - 0.9 / height, page["title"], size=15, weight="bold", va="center")
    figure.text(0.99, 1 - 0.9 / height, NOTE, size=9, color="#666666", va="center", ha="right")
    for panel in page["panels"]:
        place = panel["gridPos"]
        top = 1 - (place["y"] + 2) / height
        if panel["type"] == "row":
            figure.text(0.01, top - 0.55 / height, f"⌄ {panel['title']}", size=11, weight="bold", va="center")
            continue
        left, width, tall = place["x"] / COLUMNS, place["w"] / COLUMNS, place["h"] / height
        box = figure.add_axes((left + 0.003, top - tall + 0.1 / height, width - 0.006, tall - 0.2 / height))
        box.set(xticks=[], yticks=[], facecolor="white")
        for spine in box.spines.values():
            spine.set_color("#dddddd")
        box.text(
            0.012, 1 - 0.5 / place["h"], panel["title"], transform=box.transAxes, size=9, weight="bold", va="center"
        )
        inner = (left + 0.043, top - tall + 1.6 / height, width - 0.053, tall - 2.9 / height)
        DRAWN[panel["type"]](figure, box, inner, panel, source)
    return figure


def _lines(panel: Panel, source: Source) -> list[Line]:
    return [line for target in panel["targets"] for line in source.lines(target)]


def _unit(panel: Panel) -> str:
    return str(panel["fieldConfig"]["defaults"]["unit"])


def _steps(panel: Panel) -> list[tuple[float, str]]:
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    return [(float("-inf") if step["value"] is None else step["value"], step["color"]) for step in steps]


def _colors(panel: Panel, lines: list[Line]) -> list[str]:
    """Those that the page fixes, and the palette's."""
    fixed = {
        override["matcher"]["options"]: NAMED[override["properties"][0]["value"]["fixedColor"]]
        for override in panel["fieldConfig"]["overrides"]
    }
    return [fixed.get(line.name, PALETTE[index % len(PALETTE)]) for index, line in enumerate(lines)]


def _color(panel: Panel, value: float) -> str:
    reached = [color for threshold, color in _steps(panel) if value >= threshold]
    return NAMED.get(reached[-1], NAMED["text"]) if reached else NAMED["text"]


def _graph(figure: Figure, box: Axes, inner: Place, panel: Panel, source: Source) -> None:
    axes, lines, unit = figure.add_axes(inner), _lines(panel, source), _unit(panel)
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    colors = _colors(panel, lines)
    if custom.get("drawStyle") == "bars":
        _stack(axes, lines, colors, source)
    else:
        for line, color in zip(lines, colors, strict=True):
            axes.plot(line.times, line.values, color=color, linewidth=1.3, label=line.name)
    for threshold, _ in _steps(panel):
        if custom.get("thresholdsStyle") and threshold > float("-inf"):
            axes.axhline(threshold, color=NAMED["red"], linestyle="--", linewidth=0.9)
    _scale(axes, lines, panel["fieldConfig"]["defaults"].get("min"), unit)
    axes.set_axisbelow(True)
    _clock(axes, source)
    axes.tick_params(labelsize=6.5, length=2, color="#999999")
    axes.grid(color="#eeeeee")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if any(line.name for line in lines):
        _legend(axes, lines, stacked=custom.get("drawStyle") == "bars")


def _scale(axes: Axes, lines: list[Line], floor: float | None, unit: str) -> None:
    """With room above, and at round numbers of the unit in which they are written."""
    low, high = axes.get_ylim()
    if not any(value for line in lines for value in line.values):
        low, high = 0.0, 1.0
    if floor is not None:
        low, high = floor, floor + (high - floor) * 1.05
    one = size(high, unit)
    ticks = [tick * one for tick in MaxNLocator(4).tick_values(low / one, high / one)]
    axes.set_yticks([tick for tick in ticks if low <= tick <= high])
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))


def _clock(axes: Axes, source: Source) -> None:
    """Minutes and seconds since the start."""
    axes.set_xlim(source.start, source.end)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at, _: "{:.0f}:{:02.0f}".format(*divmod(at - source.start, 60)))
    )


def _legend(axes: Axes, lines: list[Line], *, stacked: bool) -> None:
    """Of those that are not zero throughout, as many as there is room for; of bars that are not there, none."""
    handles, labels = axes.get_legend_handles_labels()
    alive = {line.name for line in lines if any(line.values)} or (set() if stacked else {lines[0].name})
    kept = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label in alive][:6]
    if kept:
        axes.legend(
            [handle for handle, _ in kept],
            [label for _, label in kept],
            loc="upper left",
            bbox_to_anchor=(-0.08, -0.13),
            ncols=6,
            frameon=False,
            fontsize=6.5,
            handlelength=1.2,
            columnspacing=1,
        )


def _stack(axes: Axes, lines: list[Line], colors: list[str], source: Source) -> None:
    below: dict[float, float] = {}
    for line, color in zip(lines, colors, strict=True):
        bottoms = [below.get(at, 0.0) for at in line.times]
        axes.bar(line.times, line.values, source.step, bottom=bottoms, color=color, label=line.name, linewidth=0)
        below.update({at: bottom + value for at, bottom, value in zip(line.times, bottoms, line.values, strict=True)})


def _number(figure: Figure, box: Axes, inner: Place, panel: Panel, source: Source) -> None:
    lines, names = _lines(panel, source), panel["options"]["textMode"] == "name"
    for index, line in enumerate(lines):
        x = (index + 0.5) / len(lines)
        value = line.values[-1]
        text = line.name if names else written(value, _unit(panel))
        size = (15 if len(text) < 12 else 12) if len(lines) < 3 else 11
        color = _color(panel, value)
        box.text(x, 0.45, text, transform=box.transAxes, ha="center", va="center", size=size, color=color)
        if len(lines) > 1:
            box.text(x, 0.15, line.name, transform=box.transAxes, ha="center", va="center", size=7, color="#666666")


def _states(figure: Figure, box: Axes, inner: Place, panel: Panel, source: Source) -> None:
    left, bottom, width, height = inner
    axes, lines = figure.add_axes((left + 0.02, bottom, width - 0.02, height)), _lines(panel, source)
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    for row, line in enumerate(lines):
        for at, value in zip(line.times, line.values, strict=True):
            color = mapping["options"][f"{value:g}"]["color"]
            if color != "transparent":
                axes.barh(row, source.step, left=at, color=NAMED[color], height=0.75, linewidth=0)
    axes.set_yticks(range(len(lines)), [line.name for line in lines], fontsize=7)
    axes.set_ylim(-0.7, len(lines) - 0.5)
    _clock(axes, source)
    axes.tick_params(labelsize=6.5, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _table(figure: Figure, box: Axes, inner: Place, panel: Panel, source: Source) -> None:
    """As Grafana's merge does it: rows with the same values of shared labels are one."""
    (organise,) = (t["options"] for t in panel["transformations"] if t["id"] == "organize")
    order = sorted(organise["indexByName"], key=organise["indexByName"].__getitem__)
    headings = {name: organise["renameByName"][name] for name in order if name not in organise["excludeByName"]}
    units = {o["matcher"]["options"]: o["properties"] for o in panel["fieldConfig"]["overrides"]}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for target in panel["targets"]:
        heading = headings.get(f"Value #{target['refId']}", "")
        unit = next((p["value"] for p in units.get(heading, []) if p["id"] == "unit"), "none")
        for line in source.lines(target):
            row = found.setdefault((line.labels["fl_namespace"], line.labels["fl_job"]), {})
            row |= {headings[label]: value for label, value in line.labels.items() if label in headings}
            row[heading] = written(line.values[-1], unit)
    for column, heading in enumerate(headings.values()):
        x = 0.012 + column * 0.985 / len(headings)
        box.text(x, 0.80, heading, transform=box.transAxes, size=8, color="#4a7fc0", va="center")
        for number, row in enumerate(found.values()):
            text = textwrap.shorten(row.get(heading, ""), 24, placeholder="…")
            box.text(x, 0.68 - number * 0.1, text, transform=box.transAxes, size=8, va="center")


DRAWN = {"timeseries": _graph, "stat": _number, "state-timeline": _states, "table": _table}


def write(source: Source, folder: Path) -> None:
    """A picture of each page."""
    for path in sorted(CHART.glob("*.json")):
        draw(json.loads(path.read_text("utf-8")), source).savefig(folder / f"{path.stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prometheus")
    parser.add_argument("--start", type=float, required=True)
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--step", type=float, default=1.0)
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--job", default="steered")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    interval = f"{max(4, int(4 * asked.step))}s"
    variables = {"namespace": asked.namespace, "job": asked.job, "__rate_interval": interval}
    source = Source(asked.prometheus, asked.start, asked.end, asked.step, variables)
    write(source, asked.out)


if __name__ == "__main__":
    main()
