"""Where the first model comes from, and what is said when there is none."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from umbel.server import beginning, tensors
from umbel.server.beginning import Beginning, BeginningError
from umbel.server.output import OutputError
from umbel.wire.layout import LayoutError

from . import disk
from .things import job

APP = """
import numpy as np
import umbel

class App(umbel.Client):
    def initial(self, ctx):
        {initial}

    def num_examples(self, ctx):
        raise AssertionError("no data at the server")

    fit = num_examples

app = App()
"""
MODEL = """return {
            "head.weight": np.full((2, 2), ctx.config["fill"], np.float32),
            "body.weight": ctx.generator.normal(size=3),
            "body.mean": umbel.buffer(np.zeros(3, np.float32)),
            "steps": np.int64(7),
        }"""


async def begin(folder: Path, **spec: Any) -> Beginning:
    made = job()
    app = made.spec.app.model_copy(update={"client": "fresh:app", "config": {"fill": 0.5}})
    model = made.spec.model.model_copy(update=spec)
    spec_of_it = made.spec.model_copy(update={"app": app, "model": model})
    return await beginning.begin(
        made.model_copy(update={"spec": spec_of_it}), disk.store(folder / "state"), [str(folder)]
    )


def write_app(folder: Path, initial: str) -> None:
    (folder / "fresh.py").write_text(APP.format(initial=initial))


# ---- the last checkpoint


async def test_a_checkpoint_comes_before_everything_else(tmp_path: Path) -> None:
    disk.save(disk.store(tmp_path / "state"), 4)
    found = await begin(tmp_path)  # there is no app
    assert (found.round, found.down) == (4, disk.LAYOUT)
    assert found.up == disk.LAYOUT.upward()
    assert found.state == {"engine": {"round": 4}}
    assert np.array_equal(found.strategy_state["momentum"], np.full(4, 4.0))
    assert np.array_equal(found.model, disk.model(4))
    assert found.info is not None


# ---- the app's `initial`


@pytest.mark.process
async def test_the_app_makes_the_model_and_marks_its_buffers(tmp_path: Path) -> None:
    write_app(tmp_path, MODEL)
    found = await begin(tmp_path)
    views = found.down.views(found.model)
    assert views["head.weight"].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert views["steps"].shape == ()
    assert int(views["steps"]) == 7
    assert [t.name for t in found.down.tensors if t.buffer] == ["body.mean"]
    assert (found.info, found.round, found.state) == (None, 0, {})
    again = await begin(tmp_path)
    assert again.model.tobytes() == found.model.tobytes(), "the same seed makes the same model"


@pytest.mark.process
async def test_local_parameters_are_no_part_of_it(tmp_path: Path) -> None:
    write_app(tmp_path, MODEL)
    found = await begin(tmp_path, local_parameters=["head.*", "body.mean"])
    assert {t.name for t in found.down.tensors} == {"body.weight", "steps"}
    assert not any(t.buffer for t in found.down.tensors)


@pytest.mark.process
@pytest.mark.parametrize(
    ("initial", "fault"),
    [
        (
            "raise RuntimeError('no such\\n  weights')",
            "spec.app.client: `initial` raised RuntimeError: no such weights",
        ),
        (
            "return {'w': np.ones(2, np.float16)}",
            "spec.app.client: `initial` returned 'w' as float16; use one of float32, float64",
        ),
        ("import os; os._exit(3)", "spec.app.client: the process that ran `initial` ended with status 3"),
    ],
)
async def test_an_app_without_a_model_is_one_line(tmp_path: Path, initial: str, fault: str) -> None:
    write_app(tmp_path, initial)
    with pytest.raises(BeginningError) as raised:
        await begin(tmp_path)
    assert str(raised.value).startswith(fault)
    assert "\n" not in str(raised.value)
    assert disk.store(tmp_path / "state").load() is None


@pytest.mark.process
async def test_what_user_code_raised_is_shown_with_where_but_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_app(tmp_path, "raise RuntimeError('out of luck')")
    with pytest.raises(BeginningError, match="raised RuntimeError: out of luck"):
        await begin(tmp_path)
    said = capfd.readouterr().err
    assert "fresh.py" in said
    assert "umbel: `initial` raised" not in said


@pytest.mark.process
async def test_an_app_that_takes_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "INITIAL_SECONDS", 0.05)
    write_app(tmp_path, "import time; time.sleep(600)")
    with pytest.raises(BeginningError, match=r"`initial` took longer than 0\.05 s"):
        await begin(tmp_path)


# ---- a model file


def write_checkpoint(path: Path) -> None:
    tensors.write_model(path, disk.LAYOUT, disk.model(1))


async def of_file(folder: Path, uri: str, **spec: Any) -> Beginning:
    initial = job().spec.model.initial.model_copy(update={"from_": "Checkpoint", "uri": uri})
    return await begin(folder, initial=initial, **spec)


@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_a_model_of_ours_begins_a_job_as_it_was(tmp_path: Path, scheme: str) -> None:
    write_checkpoint(tmp_path / "m.safetensors")
    found = await of_file(tmp_path, f"{scheme}{tmp_path / 'm.safetensors'}")
    assert found.down == disk.LAYOUT
    assert np.array_equal(found.model, disk.model(1))
    assert (found.info, found.round) == (None, 0)


async def test_from_any_file_system_of_fsspec(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m.safetensors")
    fsspec.filesystem("memory").pipe("/models/m.safetensors", (tmp_path / "m.safetensors").read_bytes())
    found = await of_file(tmp_path, "memory://models/m.safetensors")
    assert found.down == disk.LAYOUT
    assert np.array_equal(found.model, disk.model(1))


async def test_a_file_of_another_program_has_no_buffers(tmp_path: Path) -> None:
    save_file({"w": np.ones((2, 3), np.float32), "n": np.arange(4)}, tmp_path / "m", {"format": "pt"})
    found = await of_file(tmp_path, str(tmp_path / "m"))
    assert not any(t.buffer for t in found.down.tensors)
    assert found.down.views(found.model)["n"].tolist() == [0, 1, 2, 3]


async def test_local_parameters_of_a_file_stay_out(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m")
    found = await of_file(tmp_path, str(tmp_path / "m"), local_parameters=["precise", "mean"])
    assert {t.name for t in found.down.tensors} == {t.name for t in disk.LAYOUT.tensors} - {"precise", "mean"}


async def test_local_parameters_that_leave_nothing_are_said(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m")
    with pytest.raises(BeginningError, match=r"^spec\.model\.localParameters matches every tensor; leave something"):
        await of_file(tmp_path, str(tmp_path / "m"), local_parameters=["*"])


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"PK\x03\x04" * 100, b"\x08\0\0\0\0\0\0\0{}      x"])
async def test_another_kind_of_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises((BeginningError, LayoutError)) as raised:
        await of_file(tmp_path, str(tmp_path / "m"))
    assert str(raised.value).startswith("spec.model.initial.uri: not a safetensors file (")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("code", "size"), [("F16", 2), ("BF16", 2), ("F8_E4M3", 1), ("C64", 8), ("U64", 8)])
async def test_another_kind_of_number_is_refused_with_a_remedy(tmp_path: Path, code: str, size: int) -> None:
    header = json.dumps({"w": {"dtype": code, "shape": [3], "data_offsets": [0, 3 * size]}}).encode()
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(header)) + header + bytes(3 * size))
    with pytest.raises(BeginningError) as raised:
        await of_file(tmp_path, str(tmp_path / "m"))
    assert str(raised.value).startswith(f"spec.model.initial.uri: tensor 'w' is {code}; convert it to F32")
    assert "\n" not in str(raised.value)


async def test_a_value_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    save_file({"w": np.array([1.0, np.inf], np.float32)}, tmp_path / "m")
    with pytest.raises(
        BeginningError, match=r"^spec\.model\.initial\.uri: tensor 'w' holds a value that is not finite"
    ):
        await of_file(tmp_path, str(tmp_path / "m"))


@pytest.mark.parametrize("buffers", ["not json", "7", json.dumps(["nobody"]), json.dumps([["w"]])])
async def test_metadata_that_lists_no_tensors_is_refused(tmp_path: Path, buffers: str) -> None:
    save_file({"w": np.ones(2, np.float32)}, tmp_path / "m", {"buffers": buffers})
    with pytest.raises(BeginningError, match=r"^spec\.model\.initial\.uri: its metadata `buffers` is no JSON list"):
        await of_file(tmp_path, str(tmp_path / "m"))


async def test_a_file_that_is_not_there_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^spec\.model\.initial\.uri: cannot read "):
        await of_file(tmp_path, str(tmp_path / "none"))


async def test_the_copy_is_removed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    write_checkpoint(tmp_path / "m")
    (tmp_path / "bad").write_bytes(b"bad")
    await of_file(tmp_path, str(tmp_path / "m"))
    with pytest.raises(BeginningError):
        await of_file(tmp_path, str(tmp_path / "bad"))
    assert list(scratch.iterdir()) == []
