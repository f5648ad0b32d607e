"""What runs of one client on this machine, and what to do about it. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from umbel_operator.agent.backends.local import command, restarts
from umbel_operator.agent.backends.local.actions import Note
from umbel_operator.agent.backends.local.directory import Kept
from umbel_operator.agent.backends.local.holding import LocalHolding
from umbel_operator.agent.backends.local.records import Attempt
from umbel_operator.agent.backends.process.keeper import Sight
from umbel_operator.agent.federatedclient import FederatedClient, Server
from umbel_operator.agent.holding import Diagnosis, not_ready, ready
from umbel_operator.agent.lifecycle import FINISHED
from umbel_operator.agent.plan import Clocks, Draft
from umbel_operator.agent.site import Process, Site
from umbel_operator.names import short_hash

RUNNING, PENDING = "Running", "Pending"
CRASH_LOOP, REFUSED, NOT_STARTED = "CrashLoopBackOff", "Refused", "CreateContainerConfigError"
REFUSED_EXIT = 2
SHELL_EXITS = (126, 127)  # the program is not there, or no program
SETTLED_SECONDS = 10.0  # alive so long, a client that was started again counts as running
STOP_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Start:
    """Write the attempt down, then make it."""

    folder: Path
    attempt: Attempt
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Signal:
    """To everybody of this attempt."""

    folder: Path
    token: str
    number: signal.Signals


class ProcessHolding(LocalHolding):
    """``sights``: of each folder with an attempt. ``surroundings``: the agent's own environment."""

    def __init__(
        self,
        client: FederatedClient | None,
        site: Site,
        folders: Sequence[Kept],
        sights: Mapping[Path, Sight],
        home: Path | None,
        surroundings: Mapping[str, str],
        now: float,
    ) -> None:
        super().__init__(client, site, folders, home, now)
        self._sights = sights
        self._surroundings = surroundings

    @property
    def _process(self) -> Process:
        assert self._site.process is not None  # `site.check_backend` has seen to it
        return self._site.process

    @property
    def waits(self) -> bool:
        return False  # a process starts at once, or not at all

    def run(self, wanted: bool, draft: Draft) -> None:
        own = self._own
        if own is None:
            return
        if own.attempt is not None:  # one that an agent without this clock has started
            self._begin(own, own.attempt.started, draft)
        if not wanted:
            self._end(own, draft)
            return
        server = self._client.server or (own.attempt.server if own.attempt else None)
        if server is None or own.report is not None:
            return  # nowhere to go, or the job has ended
        words, surroundings = self._command(own, server), self._environment(self._surroundings)
        as_what = command.digest(words, self._environment({}))  # the agent's own surroundings may change with its shell
        attempt = own.attempt
        if attempt is not None and (attempt.stopping is not None or attempt.digest != as_what):
            if not self._end(own, draft):
                return
            attempt = None
        if attempt is None:
            self._start(own, Attempt(self._token(1), 1, self._now, server, as_what), words, surroundings, draft)
            return
        sight = self._sight(own)
        if sight.leader:
            return
        if sight.alive:  # what the client has left behind, in the way of the next
            draft.actions.append(Signal(own.folder, attempt.token, signal.SIGKILL))
            draft.look_again(STOP_LOOK_SECONDS)
            return
        due = self._again(attempt, sight)
        if due.at > self._now:
            draft.look_again(due.at - self._now)
            return
        number = attempt.number + 1
        code = sight.exit.code if sight.exit else None
        following = Attempt(self._token(number), number, self._now, server, as_what, due.failures, code)
        self._start(own, following, words, surroundings, draft)

    def diagnose(self, clocks: Clocks) -> Diagnosis:
        own = self._own
        if own is None or (own.attempt is None and own.report is None):
            return not_ready(PENDING, "the client is being started")
        if own.report is not None:
            return not_ready(FINISHED, "the client has heard the end of the job")
        attempt = own.attempt
        assert attempt is not None
        if attempt.stopping is not None:
            return not_ready(PENDING, "the client is being stopped, and is started again as it is asked for now")
        sight = self._sight(own)
        if sight.leader:
            alive = self._now - attempt.started
            if not attempt.failures or attempt.last is None or alive >= SETTLED_SECONDS:
                return ready(RUNNING, "the client runs")
            return replace(_ended(attempt.last), again=max(0.5, SETTLED_SECONDS - alive))
        return _ended(sight.exit.code if sight.exit else None)

    # ---- pieces

    def _alive(self, kept: Kept) -> bool:
        return self._sight(kept).alive

    def _sight(self, kept: Kept) -> Sight:
        return self._sights.get(kept.folder, Sight())

    def _end(self, kept: Kept, draft: Draft) -> bool:
        attempt = kept.attempt
        if attempt is None:
            return True
        if not self._alive(kept):
            draft.actions.append(Note(kept.folder, None))
            return True
        grace = self._process.grace_seconds
        if attempt.stopping is None:
            draft.actions.append(Note(kept.folder, replace(attempt, stopping=self._now)))
            draft.actions.append(Signal(kept.folder, attempt.token, signal.SIGTERM))
        elif not self._now - attempt.stopping < grace:
            draft.actions.append(Signal(kept.folder, attempt.token, signal.SIGKILL))
        draft.look_again(STOP_LOOK_SECONDS)
        return False

    def _again(self, attempt: Attempt, sight: Sight) -> restarts.Again:
        """One whose end nobody could note, as when the machine went down, ended at some time since it started."""
        code, ended = (sight.exit.code, sight.exit.at) if sight.exit else (None, attempt.started)
        return restarts.again(attempt, code, min(ended, self._now))

    def _start(
        self, own: Kept, attempt: Attempt, words: Sequence[str], surroundings: Mapping[str, str], draft: Draft
    ) -> None:
        if own.attempt is None:
            self._begin(own, self._now, draft)
        whole = (*words, *command.fence(own.folder, attempt.token))
        draft.actions.append(Start(own.folder, attempt, whole, surroundings))
        draft.look_again(0.0)

    def _token(self, number: int) -> str:
        return f"{short_hash(self._client.job.uid, self._client.name, repr(self._now))}-{number}"

    def _command(self, own: Kept, server: Server) -> list[str]:
        data = self._site.datasets[self._client.dataset].path
        process = self._process
        words = command.arguments(
            self._client, self._site, server, own.folder, data, process.app_path, process.grace_seconds
        )
        return [*command.python(process.python), *words]

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        return command.environment(self._client, self._site, self._process.environment, own)


def _ended(code: int | None) -> Diagnosis:
    if code == REFUSED_EXIT:
        words = "the server refused the client, or its code failed (exit code 2): its log in the silo says which"
        return not_ready(REFUSED, words)
    if code in SHELL_EXITS:
        return not_ready(NOT_STARTED, f"the site's python cannot be run (exit code {code})")
    if code == restarts.STOPPED_EXIT:
        return not_ready(PENDING, "the client was stopped and is being started again")
    if code is None:
        return not_ready(CRASH_LOOP, "the client has vanished and is started again")
    if code > 128:
        return not_ready(CRASH_LOOP, f"the client is killed by {_signal(code - 128)} and is started again")
    return not_ready(CRASH_LOOP, f"the client ends with exit code {code} and is started again")


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
