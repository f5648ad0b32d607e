"""What Slurm 22.05 said when it did not obey, explained."""

from __future__ import annotations

import pytest

from umbel_operator.agent.batch.refusals import explained, is_temporary, may_have_arrived

REFUSED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "sbatch: error: invalid partition specified: nope\n" + REFUSED + "Invalid partition name specified",
            "partition",
        ),
        (REFUSED + "Invalid account or account/partition combination specified", "account"),
        (REFUSED + "Invalid qos specification", "quality of service"),
        ("sbatch: error: Invalid generic resource (gres) specification", "GPUs"),
        (
            "sbatch: error: Memory specification can not be satisfied\n"
            + REFUSED
            + "Requested node configuration is not available",
            "no node has as much memory",
        ),
        (REFUSED + "Invalid feature specification", "constraint"),
        (REFUSED + "Requested reservation is invalid", "reservation"),
        (REFUSED + "Requested node configuration is not available", "no node can give"),
        (REFUSED + "Requested time limit is invalid (missing or exceeds some limit)", "more time"),
        ("sbatch: error: lua: weekend\n" + REFUSED + "Unspecified error", "weekend"),
    ],
)
def test_for_good(said: str, words: str) -> None:
    assert not is_temporary(said)
    assert not may_have_arrived(said)
    assert words in explained(said)
    assert "\n" not in explained(said)


@pytest.mark.parametrize(
    ("said", "arrived"),
    [
        (REFUSED + "Unable to contact slurm controller (connect failure)", False),
        (
            "sbatch: error: If munged is up, restart with --num-threads=10\n"
            + REFUSED
            + "Protocol authentication error",
            False,
        ),
        (REFUSED + "Slurm temporarily unable to accept job, sleeping and retrying", False),
        (REFUSED + "Socket timed out on send/recv operation", True),
        (REFUSED + "Zero Bytes were transmitted or received", True),
    ],
)
def test_for_now(said: str, arrived: bool) -> None:
    assert is_temporary(said)
    assert may_have_arrived(said) is arrived
    assert explained(said).startswith("the scheduler does not answer")


def test_a_full_queue_passes_too() -> None:
    said = REFUSED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    assert is_temporary(said)
    assert "as many jobs" in explained(said)


def test_silence_and_floods() -> None:
    assert "it said nothing" in explained("\n")
    assert len(explained("x" * 10_000)) < 600
