"""What is passed to sbatch, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel_operator.agent.batch.options import CLASHES, SITE_OPTIONS, Options, site_fault

OPTIONS = Options("umbel-a-1", Path("/shared/umbel"), Path("/shared/100%.log"), time_seconds=3601)


def test_every_job() -> None:
    assert OPTIONS.arguments() == [
        "--job-name=umbel-a-1",
        "--comment=",
        "--chdir=/shared/umbel",
        "--output=/shared/100%%.log",
        "--open-mode=append",
        "--no-requeue",
        "--export=ALL",
        "--time=61",
        "--signal=TERM@180",
        "--ntasks=1",
        "--cpus-per-task=1",
    ]


def test_what_a_job_and_a_site_may_add() -> None:
    options = Options(
        *("n", Path("/w"), Path("/w/o"), 60),
        tasks=4,
        nodes=2,
        cpus_per_task=8,
        memory_mib=4096,
        gpus_per_task=1,
        site={"partition": "fl", "exclusive": "", "constraint": "[rack1*2&a100]"},
    )
    assert options.arguments()[-8:] == [
        "--ntasks=4",
        "--nodes=2",
        "--cpus-per-task=8",
        "--mem=4096M",
        "--gpus-per-task=1",
        "--constraint=[rack1*2&a100]",
        "--exclusive",
        "--partition=fl",
    ]


@pytest.mark.parametrize("name", ["wrap", "uid", "requeue", "job-name", "export", "prolog", "array", "", "Partition"])
def test_what_no_site_may_set(name: str) -> None:
    assert "is not an option that a site may set" in str(site_fault(name, "x"))
    with pytest.raises(ValueError, match="not an option"):
        Options("n", Path("/"), Path("/o"), 60, site={name: "x"}).arguments()


@pytest.mark.parametrize("name", sorted(CLASHES))
def test_what_sbatch_does_not_take_beside_the_agents_own(name: str) -> None:
    assert name not in SITE_OPTIONS
    assert "is not taken by sbatch beside --" in str(site_fault(name, "1"))


@pytest.mark.parametrize("value", ["a b", "a\nb", "$(reboot)", "a'b", "x" * 257, "a\x00"])
def test_values_that_no_option_needs(value: str) -> None:
    assert "characters" in str(site_fault("partition", value))


def test_a_value_that_is_missing() -> None:
    assert site_fault("exclusive", "") is None
    assert "no value" in str(site_fault("partition", ""))


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\n", "x" * 129])
def test_names_that_cannot_be_found_again(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        Options(name, Path("/"), Path("/o"), 60).arguments()


@given(site=st.dictionaries(st.sampled_from(sorted(SITE_OPTIONS)) | st.text(max_size=9), st.text(max_size=20)))
def test_a_site_can_only_add_what_is_allowed(site: dict[str, str]) -> None:
    try:
        arguments = Options("n", Path("/"), Path("/o"), 60, site=site).arguments()
    except ValueError:
        return
    added = [argument.partition("=")[0].removeprefix("--") for argument in arguments[-len(site) or len(arguments) :]]
    assert set(added) == set(site) or not site
    assert set(site) <= SITE_OPTIONS
