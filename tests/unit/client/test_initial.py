"""The initial model's process, and finding the client that a job names."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from umbel.client.files import read_tensors
from umbel.client.loader import LoadError, load

APP = """
import numpy as np, random, umbel
class App(umbel.Client):
    def initial(self, ctx):
        assert (ctx.silo, ctx.state_dir) == ("", None)
        return {"w": np.full(2, ctx.config["size"], np.float32), "g": ctx.generator.random(1),
                "n": umbel.buffer(np.int64(3)), "r": np.array(random.random()), "head.w": np.zeros(1)}
    def num_examples(self, ctx): ...
    def fit(self, parameters, ctx): ...
app = App()
no_client = 3
Only = App
class Bad(App):
    def initial(self, ctx): return {"w": np.zeros(1, complex)}
bad = Bad()
class Raising(App):
    def initial(self, ctx): raise KeyError("size")
raising = Raising()
class Empty(App):
    def initial(self, ctx): return {}
empty = Empty()
class Without(App):
    initial = umbel.Client.initial
without = Without()
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "their_client.py").write_text(APP)
    (tmp_path / "broken.py").write_text("import their_client\n1 / 0\n")
    (tmp_path / "needs.py").write_text("import a_package_nobody_has\n")
    return tmp_path


def make(folder, reference="their_client:app", seed=0, out="out.safetensors", **options):
    arguments = ["--client", reference, "--seed", str(seed), "--path", str(folder), "--out", str(folder / out)]
    arguments += ["--config", json.dumps({"size": 4})]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", json.dumps(value)]
    command = [sys.executable, "-m", "umbel.client.initial", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_writes_the_arrays_and_which_are_buffers_without_the_local_ones(folder):
    assert make(folder, local_parameters=["head.*"]).returncode == 0
    arrays, metadata = read_tensors(folder / "out.safetensors")
    assert set(arrays) == {"w", "g", "n", "r"}
    assert arrays["w"].tolist() == [4, 4]
    assert (arrays["n"].shape, arrays["n"].dtype) == ((), np.int64)
    assert json.loads(metadata["buffers"]) == ["n"]


def test_the_seed_decides_every_draw(folder):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert make(folder, seed=seed, out=out).returncode == 0
    a, b, c = (read_tensors(folder / out)[0] for out in "abc")
    assert (a["g"], a["r"]) == (b["g"], b["r"])
    assert a["g"] != c["g"]
    assert a["r"] != c["r"]


@pytest.mark.parametrize(
    ("reference", "last_line"),
    [
        ("their_client:bad", "umbel: `initial` returned 'w' as complex128; use one of"),
        ("their_client:raising", "umbel: `initial` raised KeyError: 'size'"),
        ("their_client:empty", "umbel: `initial` returned dict; return a dict of arrays by name"),
        ("their_client:without", "umbel: this client has no `initial`"),
        ("broken:app", "umbel: spec.app.client: importing broken raised ZeroDivisionError"),
        ("nowhere:app", "umbel: spec.app.client: nowhere:app: no module 'nowhere'"),
    ],
)
def test_the_last_line_says_what_is_wrong(folder, reference, last_line):
    done = make(folder, reference)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(last_line)
    assert not (folder / "out.safetensors").exists()


def test_nothing_left_to_share_is_a_fault(folder):
    done = make(folder, local_parameters=["*"])
    assert "spec.model.localParameters matches every tensor" in done.stderr


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("their_client", "is not module:object"),
        (":app", "is not module:object"),
        ("nowhere.at.all:app", "no module 'nowhere'; put it beside the manifest or install it"),
        ("needs:app", "it imports 'a_package_nobody_has', which is not installed"),
        ("broken:app", "importing broken raised ZeroDivisionError: division by zero"),
        ("their_client:missing", "module their_client has no 'missing'"),
        ("their_client:no_client", "is a int, not an umbel.Client"),
        ("their_client:Only", "is a class; name an instance"),
    ],
)
def test_a_client_that_cannot_be_had_is_one_clear_line(folder, monkeypatch, reference, fault):
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(LoadError, match=r"^spec\.app\.client: ") as caught:
        load(reference)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)
    for module in ("their_client", "broken", "needs"):
        sys.modules.pop(module, None)


def test_the_manifests_folder_comes_first_on_the_import_path(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert type(load("their_client:app", [str(folder)])).__name__ == "App"
    assert sys.path[0] == str(folder)
    sys.modules.pop("their_client", None)
