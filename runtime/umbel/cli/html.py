"""A run's report: records in, one self-contained HTML page out.

Nothing is loaded from anywhere: styles are inline, charts are SVG made here. The page shows released aggregates only,
rounds by phase and members by outcome, never a silo.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from umbel.cli import charts
from umbel.cli.charts import Series
from umbel.cli.records import OUTCOMES, PHASES, Record, metric_names
from umbel.cli.style import STYLE
from umbel.cli.units import in_bytes, in_seconds

OUTCOME_WORDS = {"timedOut": "timed out"}
GATHER_SHOWN = 3  # times the longest rest of a round: a longer wait for members is left out of the timeline


@dataclass(frozen=True, slots=True)
class Report:
    """``outcome`` Complete, Failed or empty while the job has not ended; ``settings`` in the order they are shown."""

    job: str
    outcome: str
    reason: str
    total: int
    settings: Mapping[str, str]
    records: Sequence[Record]


def render(report: Report) -> str:
    sections = [_tiles(report), *_curves(report.records), *_rounds(report.records), _settings(report.settings)]
    title = html.escape(report.job)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title} · Umbel</title>\n'
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{_header(report)}\n"
        + "\n".join(sections)
        + "\n<footer>Released aggregates only: no number in this report belongs to a single silo.</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _header(report: Report) -> str:
    state = report.outcome or "Not ended"
    kind = {"Complete": "good", "Failed": "bad"}.get(report.outcome, "open")
    reason = f'<p class="reason">{html.escape(report.reason)}</p>' if report.reason else ""
    return (
        f'<header><h1>{html.escape(report.job)}</h1><span class="state {kind}">{html.escape(state)}</span>'
        f"{reason}</header>"
    )


def _tiles(report: Report) -> str:
    records = report.records
    committed = [r for r in records if r.committed]
    values = final_metrics(records)
    shown = [(name, f"{values[name]:.4g}") for name in sorted(values, key=lambda n: (n == "loss", n))[:4]]
    busy = sum(sum(r.seconds.values()) for r in records)
    up, down = sum(r.bytes_up for r in records), sum(r.bytes_down for r in records)
    shown += [
        ("rounds", f"{len(committed)} of {report.total}"),
        ("time in rounds", in_seconds(busy)),
        ("moved up", in_bytes(up)),
        ("moved down", in_bytes(down)),
    ]
    if abandoned := len(records) - len(committed):
        shown.append(("abandoned attempts", str(abandoned)))
    tiles = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in shown)
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def final_metrics(records: Sequence[Record]) -> dict[str, float]:
    """What was released last under each name, evaluation before training."""
    values: dict[str, float] = {}
    for record in records:
        values |= record.train
    for record in records:
        values |= record.evaluate
    return values


def _curves(records: Sequence[Record]) -> Iterable[str]:
    figures = []
    for name in metric_names(records):
        phases = (
            ("evaluate", [(r.round, r.evaluate[name]) for r in records if name in r.evaluate]),
            ("train", [(r.round, r.train[name]) for r in records if name in r.train]),
        )
        series = [Series(phase, f"c-{phase}", points) for phase, points in phases if points]
        figures.append(_figure(name, charts.lines(series), [(s.name, s.css) for s in series]))
    if figures:
        yield _section("Learning curve", "Weighted means over the members of a round, by round.", figures)


def _rounds(records: Sequence[Record]) -> Iterable[str]:
    if not records:
        return
    labels = [str(r.round) if r.committed else f"{r.round} (attempt {r.attempt}, abandoned)" for r in records]
    times, shown = _phases_shown(records)
    phases = [Series(p, f"c-{p}", [(i, r.seconds[p]) for i, r in enumerate(records)]) for p in shown]
    phases = [s for s in phases if any(v for _, v in s.points)]
    members = [
        Series(OUTCOME_WORDS.get(o, o), f"c-{o}", [(i, float(r.counts[o])) for i, r in enumerate(records)])
        for o in OUTCOMES
    ]
    members = [s for s in members if s.name == "full" or any(v for _, v in s.points)]
    moved = [
        Series("up (updates)", "c-up", [(i, float(r.bytes_up)) for i, r in enumerate(records)]),
        Series("down (models)", "c-down", [(i, float(r.bytes_down)) for i, r in enumerate(records)]),
    ]
    parts = (
        (times, phases, in_seconds),
        ("Members by outcome", members, charts.plain),
        ("Bytes moved", moved, in_bytes),
    )
    figures = [
        _figure(title, charts.bars(series, labels, unit), [(s.name, s.css) for s in series], wide=True)
        for title, series, unit in parts
    ]
    yield _section("Rounds", charts.grouping_note(len(records)), figures)
    yield _table(records)


def _phases_shown(records: Sequence[Record]) -> tuple[str, Sequence[str]]:
    """Title and phases of the timeline. A long wait for members, as before the first round, would dwarf all else: it
    is said in words instead."""
    waits = [r.seconds["gather"] for r in records]
    rest = max(sum(r.seconds.values()) - r.seconds["gather"] for r in records)
    if max(waits) <= GATHER_SHOWN * rest:
        return "Time by phase", PHASES
    return f"Time by phase (without {in_seconds(sum(waits))} of waiting for members)", PHASES[1:]


def _table(records: Sequence[Record]) -> str:
    names = metric_names(records)
    head = ["round", "members", "examples", "seconds", "up", "down", *names]
    rows = []
    for r in records:
        values = {**r.train, **r.evaluate}
        arrived = f"{r.counts['full'] + r.counts['partial']} of {r.invited}"
        cells = [
            str(r.round) if r.committed else f"{r.round} abandoned{': ' + r.reason if r.reason else ''}",
            arrived,
            "–" if r.examples is None else f"{r.examples:,}",
            in_seconds(sum(r.seconds.values())),
            in_bytes(r.bytes_up),
            in_bytes(r.bytes_down),
            *(f"{values[n]:.4g}" if n in values else "–" for n in names),
        ]
        rows.append("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>")
    titles = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    return (
        f"<details><summary>All {len(records)} rounds as a table</summary>"
        f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        "</details>"
    )


def _settings(settings: Mapping[str, str]) -> str:
    rows = (f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in settings.items())
    return f'<section><h2>Settings</h2><dl class="settings">{"".join(rows)}</dl></section>'


def _section(title: str, note: str, figures: Sequence[str]) -> str:
    lead = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f'<section><h2>{html.escape(title)}</h2>{lead}<div class="figures">{"".join(figures)}</div></section>'


def _figure(title: str, svg: str, legend: Sequence[tuple[str, str]], *, wide: bool = False) -> str:
    keys = "".join(f'<span><i class="{css}"></i>{html.escape(name)}</span>' for name, css in legend)
    width = ' class="wide"' if wide else ""
    return (
        f'<figure{width}><figcaption>{html.escape(title)}<span class="legend">{keys}</span></figcaption>{svg}</figure>'
    )
