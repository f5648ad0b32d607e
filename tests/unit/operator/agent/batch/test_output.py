"""What Slurm 22.05 printed, read; and what a broken command may print, refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel_operator.agent.batch import output
from umbel_operator.agent.batch.base import BatchJob
from umbel_operator.agent.batch.output import FIELD, RECORD, NotUnderstood, code_and_signal, nodes, wait_status


def record(*fields: str) -> str:
    return FIELD.join(fields) + RECORD


RUNNING = record(
    "1", "RUNNING", "None", "0", "0", "1795549288", "1795549289", "1795551089", "n[1-2]", "umbel-a", "umbel silo=a"
)
EXITED = record(
    "6", "FAILED", "NonZeroExitCode", "19200", "2", "1795549288", "1795549289", "1795549290", "n1", "umbel-b", "(null)"
)
PENDING = record("2", "PENDING", "PartitionTimeLimit", "0", "0", "1795549288", "N/A", "N/A", "", "umbel-c", "(null)")
ENDING = record("5", "COMPLETING", "NonZeroExitCode", "512", "0", "1", "2", "3", "n1", "sbatch", "(null)")


def test_a_queue_of_four() -> None:
    assert output.queue("\n".join((RUNNING, EXITED, PENDING, ENDING)) + "\n") == [
        BatchJob("1", "RUNNING", "umbel-a", "umbel silo=a", "", ("n1", "n2"), 1795549288, 1795549289),
        BatchJob(
            *("6", "FAILED", "umbel-b", "", "NonZeroExitCode", ("n1",)),
            *(1795549288, 1795549289, 1795549290, 75, 0),
            restarts=2,
        ),
        BatchJob("2", "PENDING", "umbel-c", "", "PartitionTimeLimit", (), 1795549288),
        BatchJob("5", "COMPLETING", "sbatch", "", "NonZeroExitCode", ("n1",), 1, 2, 3, 2, 0),
    ]


def test_an_empty_queue() -> None:
    assert output.queue("") == output.queue("\n") == []


def test_a_comment_of_somebody_else_with_a_line_break_costs_nothing() -> None:
    strange = record("9", "RUNNING", "None", "0", "0", "1", "2", "3", "n1", "x", "two\nlines | of it")
    first, second = output.queue(f"{strange}\n{RUNNING}\n")
    assert (first.comment, second.id) == ("two\nlines | of it", "1")


@pytest.mark.parametrize(
    "text",
    [
        "slurm_load_jobs error: Unable to contact slurm controller",
        RUNNING.replace(FIELD, "|"),
        RUNNING + "\n7" + FIELD,
        record("x", "RUNNING", "None", "0", "0", "1", "2", "3", "n1", "x", ""),
        record("1", "", "None", "0", "0", "1", "2", "3", "n1", "x", ""),
        record("1", "RUNNING", "None", "0", "0", "yesterday", "2", "3", "n1", "x", ""),
        record("1", "RUNNING", "None", "0", "0", "1", "2", "3", "n[1-999999]", "x", ""),
    ],
)
def test_what_is_not_a_queue_is_no_empty_queue(text: str) -> None:
    with pytest.raises(NotUnderstood):
        output.queue(text)


def test_accounting() -> None:
    text = FIELD.join(
        (
            "12",
            "CANCELLED by 1000",
            "None",
            "0:15",
            "100",
            "110",
            "120",
            "None assigned",
            "umbel-a",
            "umbel silo=a",
        )
    )
    assert output.history(text + "\n") == [
        BatchJob("12", "CANCELLED", "umbel-a", "umbel silo=a", "", (), 100, 110, 120, 0, 15)
    ]


def test_the_id_of_a_new_job() -> None:
    assert output.submitted("12\n") == "12"
    assert output.submitted("12;cluster\n") == "12"
    for text in ("", "Submitted batch job 12\n", "12\n13\n", "-1", "sbatch: lua: welcome\n12"):
        with pytest.raises(NotUnderstood):
            output.submitted(text)


@given(code=st.integers(0, 255), signal=st.integers(0, 64))
def test_exit_codes_of_both_commands_are_the_same(code: int, signal: int) -> None:
    assert wait_status(str(code << 8 | signal)) == code_and_signal(f"{code}:{signal}") == (code, signal)
    assert wait_status(f"{code}:{signal}") == (code, signal)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", ()),
        ("n1", ("n1",)),
        ("n[1-3]", ("n1", "n2", "n3")),
        ("n[08-11,20],gpu-a", ("n08", "n09", "n10", "n11", "n20", "gpu-a")),
        ("r[1-2]c[0-1]x", ("r1c0x", "r1c1x", "r2c0x", "r2c1x")),
    ],
)
def test_lists_of_nodes(text: str, written: tuple[str, ...]) -> None:
    assert nodes(text) == written


@given(st.text(max_size=200))
def test_nothing_that_is_printed_raises_anything_else(text: str) -> None:
    for read in (output.queue, output.history, output.submitted):
        with contextlib.suppress(NotUnderstood):
            read(text)


fields = st.text(st.characters(codec="utf-8", exclude_characters=FIELD + RECORD), max_size=20)


@given(st.lists(st.lists(fields, min_size=10, max_size=12), max_size=5))
def test_jobs_of_any_text_raise_nothing_else(jobs: list[list[str]]) -> None:
    try:
        assert len(output.queue("\n".join(record(*job) for job in jobs))) == len(jobs)
    except NotUnderstood:
        assert jobs
