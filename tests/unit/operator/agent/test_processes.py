"""What an agent makes of a FederatedClient where clients are plain processes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.agent.bench import FINAL, Crash, Machine
from unit.operator.agent.silo import client, site_file

from umbel_operator.agent.backends.local.records import Attempt, Owner
from umbel_operator.agent.backends.process import keeper, table
from umbel_operator.agent.backends.process.holding import Start
from umbel_operator.agent.federatedclient import Server


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.begin()
    return machine


def test_from_the_first_sight_to_a_client_that_runs(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.settle()
    assert machine.said("Ready") == ("False", "WaitingForCertificate")
    assert not machine.alive
    machine.sign()
    machine.settle()
    assert machine.said("Ready") == ("True", "Running")
    assert len(machine.alive) == 1


def test_the_command_is_the_sites_and_the_surroundings_are_scrubbed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, datasets={"named": {"path": "/srv/data"}})
    machine.one_pass()
    machine.one_pass()
    machine.sign()
    plan = machine.plan()
    (start,) = [action for action in plan.actions if isinstance(action, Start)]
    assert start.command[:5] == ("/srv/venv/bin/python", "-P", "-m", "umbel", "client")
    assert "--data=/srv/data" in start.command
    assert "--path=/srv/code" in start.command
    assert "--stop-seconds=10" in start.command
    assert start.command[-3:-1] == ("--while", f"{start.folder}/token")
    assert start.command[-1] == start.attempt.token
    assert start.environment["PATH"] == "/bin"
    assert start.environment["A"] == "b"
    assert start.environment["OMP_NUM_THREADS"] == "1"


def test_a_client_that_ends_is_started_again_after_longer_and_longer_pauses(machine: Machine) -> None:
    waited = []
    for _ in range(12):
        machine.end(machine.alive[0], 1)
        ended = machine.now
        while not machine.alive:
            machine.one_pass()
            if not machine.alive:
                assert machine.said("Ready") == ("False", "CrashLoopBackOff")
                machine.now += machine.again or 0.0
        waited.append(machine.now - ended)
    assert waited == sorted(waited)
    assert waited[0] == pytest.approx(1, abs=0.01)
    assert waited[-1] == pytest.approx(300, abs=0.01)
    machine.one_pass()
    assert machine.said("Ready") == ("False", "CrashLoopBackOff"), "it may end at once, as before"
    machine.now += 10
    machine.one_pass()
    assert machine.said("Ready") == ("True", "Running")
    machine.now += 600
    machine.end(machine.alive[0], 1)
    machine.one_pass()
    assert machine.again == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1, "CrashLoopBackOff", "exit code 1"),
        (2, "Refused", "exit code 2"),
        (127, "CreateContainerConfigError", "the site's python cannot be run"),
        (137, "CrashLoopBackOff", "killed by SIGKILL"),
        (None, "CrashLoopBackOff", "vanished"),
        (75, "Pending", "stopped"),
    ],
)
def test_how_it_ended_is_said(machine: Machine, code: int | None, reason: str, words: str) -> None:
    machine.end(machine.alive[0], code)
    if code is None:
        machine.now -= 5  # nobody knows when it ended, so it counts from its start
    machine.one_pass()
    assert machine.said("Ready") == ("False", reason)
    assert words in machine.words()


def test_stopped_it_has_its_grace_and_then_is_killed(machine: Machine) -> None:
    machine.stubborn = True
    machine.change(desiredState="Suspended")
    machine.one_pass()
    machine.now += 14
    machine.one_pass()
    assert machine.alive
    machine.now += 2
    machine.one_pass()
    assert not machine.alive
    machine.settle()
    assert machine.only.attempt is None
    machine.change(desiredState="Running")
    machine.settle()
    assert len(machine.alive) == 1


def test_changed_it_is_ended_first_and_then_started_as_it_is_now(machine: Machine) -> None:
    (before,) = machine.alive
    machine.stubborn = True
    machine.change(server={"url": "grpcs://h:1", "name": "digits.default.umbel.internal"})
    machine.one_pass()
    assert machine.alive == [before]
    machine.stubborn = False
    machine.now += 60
    machine.settle()
    assert len(machine.alive) == 1
    assert machine.alive != [before]


def test_a_certificate_that_is_renewed_restarts_nothing(machine: Machine) -> None:
    before = list(machine.alive)
    machine.now += 17 * 3600
    machine.one_pass()
    machine.sign()
    machine.settle()
    assert machine.alive == before


def test_the_final_model_is_heard_and_nothing_is_started_again(machine: Machine) -> None:
    machine.report(FINAL)
    machine.end(machine.alive[0], 0)
    machine.settle()
    assert machine.said("Finished") == ("True", "ModelKept")
    assert machine.fc["status"]["finalModel"] == {"round": 30}
    assert not machine.alive
    machine.change(desiredState="Finished")
    machine.settle()
    assert machine.said("Ready") == ("False", "Finished")


@pytest.mark.parametrize("retain", [True, False])
def test_gone_at_the_hub_only_the_state_is_left_if_the_site_says_so(tmp_path: Path, retain: bool) -> None:
    machine = Machine(tmp_path, retainState=retain)
    machine.begin()
    machine.gone = True
    machine.settle()
    assert not machine.alive
    if retain:
        assert machine.only.owner.retained
        assert not machine.only.secrets
        machine.gone, machine.fc["status"] = False, {}
        machine.change(certificate=None)
        machine.begin()
        assert not machine.only.owner.retained
        assert len(machine.alive) == 1
    else:
        assert not machine.folders


def test_a_new_job_of_the_same_name_has_a_folder_of_its_own(machine: Machine) -> None:
    (before,) = machine.folders
    machine.change(job={"name": "digits", "namespace": "default", "uid": "other"}, certificate=None)
    machine.fc["status"] = {}
    machine.begin()
    after = next(folder for folder in machine.folders if folder != before)
    assert machine.folders[before].owner.retained
    assert machine.folders[after].key
    assert len(machine.alive) == 1


def test_refused_by_the_policy_it_is_stopped(machine: Machine) -> None:
    machine.site = site_file(
        datasets={"named": {}}, process={"python": "/srv/venv/bin/python"}, policy={"images": ["other/*"]}
    )
    machine.settle()
    assert not machine.alive
    assert not machine.only.secrets
    assert machine.said("Ready") == ("False", "ImageNotAllowed")


EVENTS = st.lists(
    st.one_of(
        st.integers(0, 4).map(lambda steps: ("killed after", steps)),
        st.sampled_from(["pass", "hour", "crash", "vanish", "suspend", "resume", "moved"]).map(lambda w: (w, 0)),
    ),
    max_size=14,
)


@settings(max_examples=150)
@given(EVENTS)
def test_wherever_an_agent_dies_the_next_finds_its_client_and_never_makes_two(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int]]
) -> None:
    machine = Machine(tmp_path_factory.mktemp("ca"))
    machine.begin()
    for number, (what, steps) in enumerate(events):
        match what:
            case "killed after":
                with contextlib.suppress(Crash):
                    machine.one_pass(steps)
            case "pass":
                machine.one_pass()
            case "hour":
                machine.now += 3600
            case "crash" | "vanish" if machine.alive:
                machine.end(machine.alive[0], 1 if what == "crash" else None)
            case "suspend" | "resume":
                machine.change(desiredState="Suspended" if what == "suspend" else "Running")
            case "moved":
                machine.change(server={"url": f"grpcs://h:{number + 1}", "name": "digits.default.umbel.internal"})
        assert len(machine.alive) <= 1
        if machine.fc["status"].get("certificateRequest"):
            machine.sign()
    machine.change(desiredState="Running")
    machine.now += 600
    machine.settle()
    assert len(machine.alive) == 1
    assert machine.only.attempt is not None
    assert machine.alive == [machine.only.attempt.token]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{", '{"client": 3}', '{"token": "t"}'])
def test_a_record_that_is_half_written_is_none(text: str) -> None:
    assert Owner.parse(text) is None
    assert Attempt.parse(text) is None


def test_records_are_read_as_they_were_written() -> None:
    attempt = Attempt("t-1", 1, 5.0, Server("grpcs://h:1", "n"), "d", failures=2, last=1, stopping=None, job="7")
    assert Attempt.parse(attempt.text()) == attempt
    owner = Owner.of(client())
    assert Owner.parse(owner.text()) == owner


def test_a_process_whose_name_holds_anything_is_read() -> None:
    line = f"17 (a) b) (c) S 1 17 16 {' '.join(['0'] * 15)} 4242 0 0"
    assert table.parse(line) == table.Entry(17, "S", 16, 4242)
    assert table.parse("nonsense") is None


def test_a_number_that_means_another_process_by_now_is_nobody() -> None:
    me = table.entry(1)
    assert me is not None
    assert table.is_alive(me)
    other = table.Entry(1, "S", 1, me.start + 1)
    assert not table.is_alive(other)
    assert table.session_of(other) == []


def test_what_another_start_of_the_machine_noted_is_nobody(tmp_path: Path) -> None:
    stat = Path("/proc/1/stat").read_text()
    (tmp_path / keeper.PID).write_text(f"another-boot\n{stat}")
    assert not keeper.look(tmp_path, "token").alive
    (tmp_path / keeper.PID).write_text(f"{table.boot()}\n{stat}")
    assert keeper.look(tmp_path, "token").leader
