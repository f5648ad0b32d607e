"""What a hardened process cannot do any more; each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOOK = """
import json, logging, os, resource, sys
from pathlib import Path
from umbel.server import hardening
hardening.harden()
hardening.keep_memory()
Path(sys.argv[1]).write_text("x")
import ctypes
print(json.dumps({
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "mode": os.stat(sys.argv[1]).st_mode & 0o777,
}))
logging.getLogger("asyncio").error("CANARY of %s", "10.0.0.1")
"""


def hardened(folder: Path, **environment: str) -> tuple[dict[str, Any], str]:
    """(what the process found, its standard error)."""
    base = {name: value for name, value in os.environ.items() if name != "UMBEL_TEST_DUMPABLE"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(folder / "file")],
        env={**base, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found, done.stderr


@pytest.mark.process
def test_no_core_no_dump_and_files_for_the_owner_only(tmp_path: Path) -> None:
    found, _ = hardened(tmp_path)
    assert found == {"core": [0, 0], "dumpable": 0, "mode": 0o600}


@pytest.mark.process
@pytest.mark.parametrize(("value", "dumpable"), [("1", 1), ("", 0), ("0", 0), ("true", 0)])
def test_only_the_tests_word_for_it_leaves_the_memory_readable(tmp_path: Path, value: str, dumpable: int) -> None:
    found, _ = hardened(tmp_path, UMBEL_TEST_DUMPABLE=value)
    assert found == {"core": [0, 0], "dumpable": dumpable, "mode": 0o600}


@pytest.mark.process
def test_what_a_library_logs_is_reduced_to_the_closed_schema(tmp_path: Path) -> None:
    _, said = hardened(tmp_path)
    assert "CANARY" not in said
    assert "10.0.0.1" not in said
    (line,) = said.splitlines()
    assert json.loads(line)["event"] == "library"
