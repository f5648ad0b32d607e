"""One server a state directory, and every start has an epoch of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from umbel.server.lock import StateLock, StateLocked

HOLDER = """
import sys
from pathlib import Path
from umbel.server.lock import StateLock, StateLocked
try:
    lock = StateLock(Path(sys.argv[1]))
except StateLocked as error:
    print(error)
else:
    print(lock.epoch, flush=True)
    sys.stdin.read()
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(directory)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_epoch_grows_with_every_start(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        lock = StateLock(tmp_path / "state")
        epochs.append(lock.epoch)
        lock.release()
    assert epochs == [1, 2, 3]


def test_a_second_lock_is_refused_and_the_first_still_holds(tmp_path: Path) -> None:
    first = StateLock(tmp_path)
    for _ in range(2):
        with pytest.raises(StateLocked, match="is in use by another server; stop that one first"):
            StateLock(tmp_path)
    first.release()
    second = StateLock(tmp_path)
    assert second.epoch == 2, "refused starts take no epoch"
    second.release()


@pytest.mark.process
def test_a_second_process_is_refused_with_one_line(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        assert first_line(first) == "1"
        with holder(tmp_path) as second:
            said, _ = second.communicate(timeout=60)
        assert said == f"{tmp_path} is in use by another server; stop that one first\n"
        first.communicate(timeout=60)


@pytest.mark.process
def test_a_killed_server_gives_the_lock_back_and_its_epoch_is_over(tmp_path: Path) -> None:
    for epoch in ("1", "2"):
        with holder(tmp_path) as process:
            assert first_line(process) == epoch
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
    lock = StateLock(tmp_path)
    assert lock.epoch == 3
    lock.release()


@pytest.mark.parametrize("content", ["", "x", "-1", "1.5", "²", "\xff"])
def test_an_epoch_that_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "epoch").write_text(content, encoding="latin-1")
    for _ in range(2):  # the lock was given back
        with pytest.raises(StateLocked, match="epoch is damaged; write into it a number") as raised:
            StateLock(tmp_path)
        assert "\n" not in str(raised.value)
    assert (tmp_path / "epoch").read_text(encoding="latin-1") == content


def test_the_epoch_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    assert (tmp_path / "epoch").read_text() == str(lock.epoch)
    lock.release()
