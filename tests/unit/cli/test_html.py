"""The report: one page, nothing loaded, every released number in it, no silo."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from umbel.cli import charts, html, records
from umbel.cli.charts import Series
from umbel.cli.records import Record

VOID = {"meta", "line", "rect", "circle", "polyline", "i"}


def history(rounds: int) -> list[Record]:
    return [
        records.parse(
            {
                "round": n,
                "attempt": 1,
                "outcome": "Committed",
                "seconds": {"gather": 0.1, "train": 1.0, "close": 0.1, "evaluate": 0.4},
                "invited": 10,
                "full": 8,
                "partial": 1,
                "timedOut": 1,
                "train": {"loss": 2.0 / n},
                "evaluate": {"loss": 2.5 / n, "accuracy": 1 - 0.5 / n},
                "examples": 1437,
                "bytesUp": 26_000,
                "bytesDown": 26_000,
            }
        )
        for n in range(1, rounds + 1)
    ]


def report(rounds: list[Record], **changed: str) -> str:
    facts = {"job": "digits", "outcome": "Complete", "reason": ""} | changed
    return html.render(html.Report(**facts, total=20, settings={"strategy": "FedAvg"}, records=rounds))


class Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("rounds", [0, 1, 20, 1000])
def test_the_page_is_well_formed(rounds: int) -> None:
    parser = Nesting()
    parser.feed(report(history(rounds)))
    assert parser.open == []


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = report(history(20))
    assert not re.search(r"https?://|//\w|<script|<link|<img|@import|url\(|\son\w+=", page)


def test_text_from_the_job_is_text() -> None:
    page = report(history(1), job="<script>alert(1)</script>", reason="a & <b>")
    assert "<script" not in page
    assert "a &amp; &lt;b&gt;" in page


def test_the_final_result_is_the_last_evaluation() -> None:
    page = report(history(20))
    assert "<dt>accuracy</dt><dd>0.975</dd>" in page
    assert "<dt>loss</dt><dd>0.125</dd>" in page
    assert "<dt>rounds</dt><dd>20 of 20</dd>" in page


def test_a_metric_that_ceased_to_be_released_keeps_its_last_value() -> None:
    rounds = history(2)
    withheld = records.parse({"round": 3, "attempt": 1, "outcome": "Committed"})
    assert html.final_metrics([*rounds, withheld])["accuracy"] == 0.75


def test_phases_and_outcomes_that_never_happened_have_no_legend() -> None:
    page = report(history(3))
    assert "c-train" in page
    assert "</i>timed out" in page
    assert "</i>checkpoint" not in page
    assert "</i>rejected" not in page


def test_an_abandoned_round_is_said_to_be_one() -> None:
    abandoned = records.parse({"round": 1, "attempt": 1, "outcome": "Abandoned", "reason": "QuorumMissed"})
    page = report([abandoned, *history(1)])
    assert "1 abandoned: QuorumMissed" in page
    assert "<dt>abandoned attempts</dt><dd>1</dd>" in page


def test_both_colour_schemes_are_there() -> None:
    assert "prefers-color-scheme: dark" in report(history(1))


def test_a_job_without_rounds_shows_state_and_settings() -> None:
    page = report([], outcome="Failed", reason="DeadlineExceeded")
    assert "DeadlineExceeded" in page
    assert "<svg" not in page


def test_many_rounds_are_drawn_as_means_of_equal_groups() -> None:
    groups = charts.grouped(1000)
    assert len(groups) <= charts.MOST_BARS
    assert [i for g in groups for i in g] == list(range(1000))
    assert charts.grouping_note(1000) == "One bar is the mean of 7 rounds."


def test_a_thinned_line_keeps_its_ends() -> None:
    points = [(n, float(n)) for n in range(5003)]
    thinned = charts.thin(points)
    assert len(thinned) <= charts.MOST_POINTS + 1
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (2.1, 9.7, [2.0, 4.0, 6.0, 8.0, 10.0]),
        (0.0, 37.0, [0.0, 10.0, 20.0, 30.0, 40.0]),
    ],
)
def test_ticks_are_round_numbers_that_enclose_the_data(low: float, high: float, ticks: list[float]) -> None:
    assert charts.nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-12])
def test_a_constant_has_an_axis_too(value: float) -> None:
    ticks = charts.nice_ticks(value, value)
    assert ticks[0] < value < ticks[-1] or ticks[0] <= value <= ticks[-1]
    assert "nan" not in charts.lines([Series("train", "c-train", [(1, value), (2, value)])])


def test_bar_heights_add_up_to_the_whole() -> None:
    svg = charts.bars([Series("a", "c-a", [(0, 3.0)]), Series("b", "c-b", [(0, 1.0)])], ["1"], charts.plain)
    first, second = (float(h) for h in re.findall(r'<rect[^>]*height="([\d.]+)"', svg))
    assert first == pytest.approx(3 * second, abs=0.05)


def test_a_long_wait_for_members_does_not_dwarf_the_timeline() -> None:
    usual = history(5)
    waited = replace(usual[0], seconds={**usual[0].seconds, "gather": 60.0})
    assert "waiting for members" in report([waited, *usual[1:]])
    assert "waiting for members" not in report(usual)
