"""A disk that is really full: the kernel cuts the write short, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import disk

LIMITED = """
import resource, sys
from pathlib import Path
from umbel.server.checkpoint import CheckpointError
from unit.server import disk

store = disk.store(Path(sys.argv[1]))
store.load()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    if sys.argv[3] == "save":
        disk.save(store, 2)
    else:
        store.update_state({"engine": {"round": 1}, "rounds": ["x" * 100] * 1000})
except CheckpointError as error:
    print(error.reason)
else:
    print("written")
"""


def limited(directory: Path, limit: int, what: str) -> str:
    """What a process says that may write files of at most ``limit`` bytes."""
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tests)!r}){LIMITED}", directory, str(limit), what],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.mark.process
@pytest.mark.parametrize(("limit", "what"), [(0, "save"), (100, "save"), (500, "save"), (4096, "state")])
def test_a_short_write_leaves_the_previous_checkpoint(tmp_path: Path, limit: int, what: str) -> None:
    disk.save(disk.store(tmp_path), 1)
    assert limited(tmp_path, limit, what) == "disk_full"
    loaded = disk.load(tmp_path)
    assert disk.agrees(loaded)
    assert (loaded.info.round, loaded.state, loaded.skipped) == (1, {"engine": {"round": 1}}, ())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001"]


@pytest.mark.process
def test_with_room_the_same_process_writes(tmp_path: Path) -> None:
    disk.save(disk.store(tmp_path), 1)
    assert limited(tmp_path, 10**6, "save") == "written"
    assert disk.load(tmp_path).info.round == 2
