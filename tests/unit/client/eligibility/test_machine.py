"""What is read of a machine, from copies of the kernel's files, and once from this machine's own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from umbel.client.eligibility import machine as module
from umbel.client.eligibility.machine import Machine, own_ticks

PID = 40
ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
ROUTES_6 = "{0:032x} 00 {0:032x} 00 {0:032x} {1:08x} 00000001 00000000 {2:08x} {3:>8}\n"


def route(name: str, metric: int, destination: str = "00000000", mask: str = "00000000", flags: str = "0003") -> str:
    return f"{name}\t{destination}\t0100A8C0\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """With nothing to read in it."""
    return tmp_path


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def process(root: Path, pid: int, parent: int, ticks: int, name: str = "a (b) c") -> None:
    columns = ["S", str(parent), *["0"] * 9, str(ticks), "0", "0", "0", *["0"] * 30]
    put(root / f"proc/{pid}/stat", f"{pid} ({name}) {' '.join(columns)}\n")


def cpu(root: Path, *columns: int) -> None:
    put(root / "proc/stat", f"cpu  {' '.join(map(str, columns))} 0 0\ncpu0 1 2 3\n")


def test_what_cannot_be_read_is_not_known(root: Path) -> None:
    facts = Machine(load=True, root=root).look()
    assert (facts.others, facts.idle, facts.mains, facts.interfaces) == (None, None, None, None)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
def test_the_load_is_what_others_use(root: Path) -> None:
    """Of 1000 ticks 400 are idle and 100 waiting for disks; 300 are the client's or a child's."""
    process(root, PID, 1, 1000)
    process(root, PID + 1, PID, 50)
    process(root, 99, 1, 5000)
    cpu(root, 5000, 0, 1000, 9000, 10, 0, 0, 0)
    machine = Machine(load=True, root=root, pid=PID)
    process(root, PID, 1, 1200)
    process(root, PID + 1, PID, 150)
    process(root, 99, 1, 5200)
    cpu(root, 5400, 0, 1100, 9400, 110, 0, 0, 0)
    assert machine.look().others == pytest.approx(0.2)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("text", ["", "intr 5\n", "cpu  1 2\n", "cpu  a b c d e f g h\n"])
def test_a_load_that_cannot_be_read_any_more_is_not_the_last_one(root: Path, text: str) -> None:
    process(root, PID, 1, 0)
    cpu(root, 0, 0, 0, 100, 0, 0, 0, 0)
    machine = Machine(load=True, root=root, pid=PID)
    cpu(root, 50, 0, 0, 200, 0, 0, 0, 0)
    assert machine.look().others is not None
    put(root / "proc/stat", text)
    assert machine.look().others is None


def test_own_time_holds_that_of_children_who_have_ended() -> None:
    """On this machine: a child burns CPU time, ends, and its time is still counted as this process' own."""
    before = own_ticks(Path("/proc"), os.getpid())
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-S", "-c", burn], check=True)
    used = own_ticks(Path("/proc"), os.getpid()) - before
    assert used >= 0.25 * os.sysconf("SC_CLK_TCK")


def test_the_last_input_at_any_terminal_counts(root: Path) -> None:
    now = time.time()
    for name, ago in (("pts/ptmx", 0), ("pts/0", 500), ("pts/3", 90), ("tty1", 9000), ("tty", 0), ("tty0", 0)):
        put(root / "dev" / name, "")
        os.utime(root / "dev" / name, (now - ago, now))
    assert Machine(load=False, root=root).look().idle == pytest.approx(90, abs=30)


def test_where_there_is_no_terminal_nobody_knows_whether_somebody_works(root: Path) -> None:
    """As in a container, which sees none of its host's."""
    put(root / "dev/pts/ptmx", "")
    assert Machine(load=False, root=root).look().idle is None


def supply(root: Path, name: str, **files: str) -> None:
    for file, text in files.items():
        put(root / "sys/class/power_supply" / name / file, text + "\n")


@pytest.mark.parametrize(("online", "mains"), [("1", True), ("0", False)])
def test_a_laptop_is_on_mains_when_its_supply_is_online(root: Path, online: str, mains: bool) -> None:
    supply(root, "BAT0", type="Battery", status="Charging")
    supply(root, "AC", type="Mains", online=online)
    assert Machine(load=False, root=root).look().mains is mains


def test_a_machine_without_a_battery_of_its_own_is_on_mains(root: Path) -> None:
    supply(root, "mouse", type="Battery", scope="Device")
    assert Machine(load=False, root=root).look().mains is True
    supply(root, "BAT0", type="Battery")
    assert Machine(load=False, root=root).look().mains is False


def test_traffic_takes_the_cheapest_default_routes(root: Path) -> None:
    text = ROUTES + route("wlan0", 600) + route("eth0", 100) + route("docker0", 0, "000011AC", "0000FFFF")
    put(root / "proc/net/route", text + route("down0", 0, flags="0002") + route("lo", 0, flags="0201"))
    facts = Machine(load=False, root=root).look
    assert facts().interfaces == ("eth0",)
    put(root / "proc/net/ipv6_route", ROUTES_6.format(0, 1024, 3, "wwan0") + ROUTES_6.format(0, 1, 0x201, "lo"))
    assert facts().interfaces == ("eth0", "wwan0")


def test_routes_that_are_no_routes_are_not_known(root: Path) -> None:
    put(root / "proc/net/route", ROUTES + "eth0 what\n")
    assert Machine(load=False, root=root).look().interfaces is None


def test_this_machine() -> None:
    facts = Machine(load=True).look()
    assert facts.others is not None
    assert 0 <= facts.others <= 1
    assert facts.interfaces is not None
