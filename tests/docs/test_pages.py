"""Links lead somewhere, code is code, tables say what the code says, and nothing tells of where it was written."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from umbel.rounds import reasons
from umbel.server.metric_names import METRICS, Declared
from umbel_operator.agent.batch.options import CLASHES, SITE_OPTIONS

from .text import ROOT, Block, anchors, blocks, links, pages, tracked

RUNNING = (ROOT / "docs/running.md").read_text("utf-8")
# In pieces, so that this file may be searched too.
REGISTRIES = tuple(
    ".".join(name)
    for name in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("ghcr", "io"),
        ("docker", "io"),
        ("quay", "io"),
        ("gcr", "io"),
        ("registry", "k8s", "io"),
        ("npmjs", "org"),
        ("conda", "anaconda", "org"),
    )
)
HOMES = tuple("/" + name + "/" for name in ("work", "root", "home", "Users"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block.page), "exec")


def test_the_page_of_the_job_is_made_from_the_models() -> None:
    made = subprocess.run([sys.executable, ROOT / "hack/jobdoc.py"], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs/job.md").read_text("utf-8") == made, "run hack/jobdoc.py --write"


def test_the_readme_names_every_example() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("| example |")[2]
    told = re.findall(r"^\| `([\w-]+)(?:/\*)?` \|", table.partition("\n\n")[0], re.MULTILINE)
    assert sorted(told) == sorted(folder.name for folder in (ROOT / "examples").iterdir() if folder.is_dir())


def row(name: str, declared: Declared) -> str:
    def values(label: str, allowed: tuple[str, ...]) -> str:
        own = label.endswith("version")
        return f"`{label}`: {'one' if own else ', '.join(allowed) or 'any of the job'}"

    labels = "; ".join(values(*item) for item in declared.labels.items())
    mark = "●" if declared.buffered else ""
    return f"| `{name}` | {declared.kind} | {mark} | {labels} | {declared.help.rstrip('.')} |"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_told(name: str) -> None:
    assert row(name, METRICS[name]) in RUNNING


def test_no_other_metric_is_told() -> None:
    assert set(re.findall(r"^\| `(fl_\w+)`", RUNNING, re.MULTILINE)) == METRICS.keys()


REASONS = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_told(reason: str) -> None:
    table = RUNNING.partition("## What to do when")[2]
    assert f"`{reason}`" in "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))


def test_every_option_of_a_slurm_site_is_told() -> None:
    page = (ROOT / "docs/site.md").read_text("utf-8")
    told = page.partition("every other option are")[2].partition("refused: `sbatch`")[0]
    own = {"partition", "account", "qos"}  # fields of their own
    assert set(re.findall(r"`([\w-]+)`", told)) == (SITE_OPTIONS | CLASHES.keys()) - own


def test_nothing_tells_of_where_it_was_written() -> None:
    here = [str(ROOT), str(Path.home()), platform.node()]
    words = [*REGISTRIES, *HOMES, *(word for word in here if len(word) > 5)]
    found = re.compile("|".join(rf"(?<![\w.-]){re.escape(word)}" for word in words))
    hits = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        hits += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in found.finditer(text)]
    assert not hits
