"""The examples: what federating a script takes, what silos have, and that each manifest and client load."""

from __future__ import annotations

import difflib
import importlib.util
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from umbel.client.files import read_tensors
from umbel.job import load, resolve

EXAMPLES = Path(__file__).parents[3] / "examples"
FRAMEWORKS = ("torch", "sklearn", "jax", "keras", "numpy")
JOBS = sorted(EXAMPLES.rglob("job.yaml"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_federating_a_script_adds_fewer_than_twenty_lines(framework):
    before, after = (
        (EXAMPLES / "frameworks" / framework / name).read_text().splitlines() for name in ("train.py", "client.py")
    )
    added = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]
    assert 0 < len(added) < 20


@pytest.mark.parametrize("job", JOBS, ids=lambda path: str(path.parent.relative_to(EXAMPLES)))
def test_every_manifest_resolves(job):
    assert resolve(load(job)).spec.app.client == "client:app"


def test_every_folder_with_a_client_has_a_manifest():
    assert {path.parent for path in EXAMPLES.rglob("client.py")} == {path.parent for path in JOBS}


@pytest.mark.frameworks
@pytest.mark.parametrize("job", JOBS, ids=lambda path: str(path.parent.relative_to(EXAMPLES)))
def test_every_client_makes_its_initial_model(job, tmp_path):
    spec = resolve(load(job)).spec
    command = [sys.executable, "-m", "umbel.client.initial", "--client", spec.app.client, "--path", str(job.parent)]
    command += ["--config", json.dumps(dict(spec.app.config)), "--out", str(tmp_path / "model")]
    subprocess.run(command, check=True, capture_output=True)
    arrays, _ = read_tensors(tmp_path / "model")
    assert arrays


def module_of(path: Path):
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_digits_are_dealt_once_and_unequally():
    data = module_of(EXAMPLES / "digits" / "data.py")
    _, labels = data.load()
    hands = data.deal(labels, 10)
    assert sorted(np.concatenate(hands).tolist()) == list(range(1797))
    assert [hand.tolist() for hand in data.deal(labels, 10)] == [hand.tolist() for hand in hands]
    assert min(map(len, hands)) >= 20
    shares = np.array([np.bincount(labels[hand], minlength=10) / len(hand) for hand in hands])
    assert shares.max(axis=1).mean() > 0.2  # equal parts would have 0.1 of each digit


def test_training_and_held_out_digits_are_apart():
    data = module_of(EXAMPLES / "digits" / "data.py")
    counts = [[len(labels) for labels in data.part(f"digits-{k}-of-3")[1::2]] for k in (1, 2, 3)]
    assert sum(map(sum, counts)) == 1797
    assert all(held > 0 for _, held in counts)


@pytest.mark.parametrize("name", ["digits", "digits-1", "mnist-1-of-3"])
def test_a_data_set_by_another_name_is_refused(name):
    with pytest.raises(ValueError, match="is not digits-<k>-of-<n>"):
        module_of(EXAMPLES / "digits" / "data.py").part(name)


def test_the_torch_image_is_made_as_the_one_that_the_tests_build():
    """torch is too large to be installed into an image by every test run: the rest of its Containerfile is what the
    digits' image is built from, and what it installs is the extra that the tests train it with."""
    built, unbuilt = (instructions(EXAMPLES / name / "Containerfile") for name in ("digits", "mnist-torch"))
    differing = [number for number, pair in enumerate(zip(built, unbuilt, strict=True)) if pair[0] != pair[1]]
    assert [unbuilt[number].split()[:3] for number in differing] == [["RUN", "/opt/umbel/bin/pip", "install"]]
    (install,) = (unbuilt[number] for number in differing)
    extras = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert shlex.split(install)[4:] == extras["torch"]


def instructions(containerfile):
    lines = map(str.strip, containerfile.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]
