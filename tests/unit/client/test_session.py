"""A session from Hello to Stored, against a server in memory."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest
from safetensors.numpy import load_file

from umbel import Client, Evaluation, Update
from umbel.client import messages
from umbel.client import session as session_module
from umbel.client.session import Pace, Refused
from umbel.client.silo import AppError
from umbel.wire import umbel_pb2 as pb
from umbel.wire.transport import TransportError

from .fakes import AGAIN, BROKEN, CLOSED, Adding, FakeServer, member


class Gated(Adding):
    """Training waits, after its first step, until the test opens the gate or the session says stop."""

    def __init__(self):
        self.started = threading.Event()
        self.gate = threading.Event()
        self.fits = 0
        self.stopped = False

    def fit(self, parameters, ctx):
        self.fits += 1
        for number, _ in enumerate(ctx.steps([None] * 4)):
            parameters["w"] += np.float32(1)
            if number == 0:
                self.started.set()
                while not self.gate.wait(0.001) and not ctx.should_stop:
                    pass
        self.stopped = ctx.should_stop
        return Update(parameters)


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


@pytest.fixture
def server():
    return FakeServer({"w": np.arange(3, dtype=np.float32)})


@asynccontextmanager
async def running(app, server, state, pace=None):
    """The member's task; ended with the test."""
    task = asyncio.ensure_future((member(app, server, state, pace) if pace else member(app, server, state)).run())
    try:
        async with asyncio.timeout(60):  # a test that waits for what never comes fails, instead of hanging
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(task, session):
    """Play the end of the job; the outcome that the member reports."""
    while (await session.heard()).WhichOneof("kind") != "stored":
        pass
    session.end()
    return await task


# ---- one round


async def test_declares_its_examples_after_welcome(server, tmp_path):
    async with running(Adding(), server, tmp_path):
        assert (await server.joined()).declared == 5


async def test_an_update_is_local_minus_received_with_its_token_steps_and_metrics(server, tmp_path):
    async with running(Adding(), server, tmp_path):
        (await server.joined()).say(server.task(3, attempt=2))
        header, update = await server.updates.get()
    assert (header.job_uid, header.epoch, header.round, header.attempt) == ("uid", 1, 3, 2)
    assert (header.steps_done, header.steps_planned, header.gradients) == (2, 2, False)
    assert dict(header.scalars) == {"loss": 0.5}
    assert header.length == server.up.nbytes
    np.testing.assert_array_equal(update["w"], [2, 2, 2])


async def test_a_model_that_is_held_is_not_fetched_again(server, tmp_path):
    async with running(Adding(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await server.updates.get()
        session.say(server.task(1, phase=pb.EVALUATE))
        report = await server.evaluations.get()
    assert (report.num_examples, dict(report.metrics)) == (4, {"sum": 3.0})
    assert server.fetches == 1


async def test_training_may_write_to_its_parameters_without_changing_what_comes_next(server, tmp_path):
    async with running(Adding(), server, tmp_path):
        session = await server.joined()
        for round_ in (1, 2):
            session.say(server.task(round_))
            _, update = await server.updates.get()
            np.testing.assert_array_equal(update["w"], [2, 2, 2])


async def test_gradients_are_sent_negated_and_say_so(server, tmp_path):
    class Gradients(Adding):
        def fit(self, parameters, ctx):
            return Update.from_gradients({"w": np.array([1.0, -2.0, 0.0])}, metrics={"loss": 1})

    async with running(Gradients(), server, tmp_path):
        (await server.joined()).say(server.task(1))
        header, update = await server.updates.get()
    assert header.gradients
    np.testing.assert_array_equal(update["w"], [-1, 2, 0])


async def test_the_training_loss_is_of_the_incoming_model_and_measured_first(server, tmp_path):
    class Fair(Adding):
        def training_loss(self, parameters, ctx):
            return parameters["w"].sum()

    async with running(Fair(), server, tmp_path):
        (await server.joined()).say(server.task(1, training_loss=True))
        header, _ = await server.updates.get()
    assert dict(header.scalars) == {"loss": 0.5, "training_loss": 3.0}


async def test_the_same_seed_round_and_silo_draw_the_same_numbers_in_another_attempt(server, tmp_path):
    class Drawing(Adding):
        def fit(self, parameters, ctx):
            parameters["w"][:] = [ctx.generator.random(), np.random.random(), 0]
            return Update(parameters)

    drawn = []
    async with running(Drawing(), server, tmp_path):
        session = await server.joined()
        for round_, attempt in ((1, 1), (1, 2), (2, 1)):
            session.say(server.task(round_, attempt=attempt))
            drawn.append((await server.updates.get())[1]["w"].tolist())
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0]
    assert drawn[0][1] != drawn[2][1]


async def test_another_number_of_examples_is_declared_again(server, tmp_path):
    app = Adding()
    async with running(app, server, tmp_path):
        session = await server.joined()
        app.examples = 6
        session.say(server.task(1))
        assert (await session.heard()).declare.num_examples == 6


async def test_heartbeats_keep_the_stream_from_idling(server, tmp_path):
    async with running(Adding(), server, tmp_path, Pace(heartbeat=0.0)):
        session = await server.joined()
        assert (await session.heard()).WhichOneof("kind") == "heartbeat"


# ---- stopping


async def test_wrap_up_ends_training_after_the_step_at_hand_and_the_part_is_sent(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await reached(app.started)
        session.say(pb.ServerMessage(wrap_up=pb.WrapUp(round=1, attempt=1, seconds_left=1)))
        header, update = await server.updates.get()
    assert (header.steps_done, header.steps_planned) == (1, 4)
    np.testing.assert_array_equal(update["w"], [1, 1, 1])


async def test_wrap_up_of_another_attempt_changes_nothing(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1, attempt=2))
        await reached(app.started)
        session.say(pb.ServerMessage(wrap_up=pb.WrapUp(round=1, attempt=1)))
        app.gate.set()
        header, _ = await server.updates.get()
    assert header.steps_done == 4


async def test_where_partial_work_is_refused_wrap_up_lets_training_go_on(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1, accepts_partial=False))
        await reached(app.started)
        session.say(pb.ServerMessage(wrap_up=pb.WrapUp(round=1, attempt=1)))
        app.gate.set()
        header, _ = await server.updates.get()
    assert (header.steps_done, app.stopped) == (4, False)


async def test_without_a_session_the_silo_wraps_up_by_its_own_clock(server, tmp_path):
    class Waiting(Adding):
        def fit(self, parameters, ctx):
            while not ctx.should_stop:
                pass
            ctx.progress(1, 4)
            return Update(parameters)

    async with running(Waiting(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1, seconds_left=3600.0, grace_seconds=3600.0))
        session.break_off()
        await server.joined()
        header, _ = await server.updates.get()
    assert (header.steps_done, header.steps_planned) == (1, 4)


async def test_cancel_stops_training_and_nothing_is_sent(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await reached(app.started)
        session.say(pb.ServerMessage(cancel=pb.Cancel(round=1, attempt=1, phase=pb.TRAIN)))
        app.started.clear()
        session.say(server.task(2))
        await reached(app.started)  # one thread: the cancelled training has ended
        app.gate.set()
        header, _ = await server.updates.get()
    assert header.round == 2
    assert app.fits == 2
    assert server.updates.empty()


async def test_no_step_done_is_declined_not_sent(server, tmp_path):
    class Late(Adding):
        def fit(self, parameters, ctx):
            while not ctx.should_stop:
                pass
            return super().fit(parameters, ctx)

    async with running(Late(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1, seconds_left=1000.0, grace_seconds=1000.0))
        assert (await session.heard()).WhichOneof("kind") == "decline"


# ---- faults of the user's code


CANARY = "patient-4711"


class Raising(Adding):
    def fit(self, parameters, ctx):
        raise RuntimeError(CANARY)

    def evaluate(self, parameters, ctx):
        raise SystemExit(CANARY)


async def test_an_exception_is_a_declined_update_and_its_text_stays_here(server, tmp_path, caplog):
    async with running(Raising(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1, attempt=2))
        decline = (await session.heard()).decline
    assert decline == pb.Decline(round=1, attempt=2, phase=pb.TRAIN, reason=pb.DECLINE_ERROR)
    assert CANARY.encode() not in bytes(server.sent)
    assert "Traceback" in caplog.text
    assert CANARY in caplog.text


async def test_user_code_cannot_end_the_process(server, tmp_path):
    async with running(Raising(), server, tmp_path) as task:
        session = await server.joined()
        session.say(server.task(1, phase=pb.EVALUATE))
        assert (await session.heard()).decline.phase == pb.EVALUATE
        assert not task.done()


@pytest.mark.parametrize(
    ("returned", "fault"),
    [
        ({"w": np.array([0, np.nan, 0])}, "tensor 'w' has a value that is not finite"),
        ({"w": np.zeros(4)}, "tensor 'w' has shape (4,); the model's is (3,)"),
        ({}, "tensor 'w' is missing"),
        ({"w": np.zeros(3), "v": np.zeros(1)}, "tensor 'v' is not in the model"),
        ({"w": np.zeros(3, complex)}, "tensor 'w' is complex128"),
        ({"w": [[1], [2, 3]]}, "tensor 'w' is a list that numpy cannot read"),
    ],
)
async def test_what_cannot_be_sent_is_declined_with_the_fault_in_the_log(server, tmp_path, caplog, returned, fault):
    class Wrong(Adding):
        def fit(self, parameters, ctx):
            return Update(returned)

    async with running(Wrong(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        assert (await session.heard()).decline.reason == pb.DECLINE_ERROR
    assert fault in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        ({"accuracy": 1.0}, "`evaluate` returned dict"),
        (Evaluation(0, {}), "`evaluate` counted 0 examples"),
        (Evaluation(3, {"accuracy": "high"}), "`evaluate` returned metrics that are not numbers"),
    ],
)
async def test_a_wrong_evaluation_is_declined(server, tmp_path, caplog, result, fault):
    class Wrong(Adding):
        def evaluate(self, parameters, ctx):
            return result

    async with running(Wrong(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1, phase=pb.EVALUATE))
        assert (await session.heard()).decline.reason == pb.DECLINE_ERROR
    assert fault in caplog.text


async def test_what_a_client_cannot_do_it_declines_as_unsupported(server, tmp_path):
    async with running(Adding(), server, tmp_path):  # has no training_loss
        session = await server.joined()
        session.say(server.task(1, training_loss=True))
        assert (await session.heard()).decline.reason == pb.DECLINE_UNSUPPORTED


@pytest.mark.parametrize("count", [0, -1, 1.5, True, None])
async def test_a_count_of_examples_that_is_none_ends_the_client_with_one_line(server, tmp_path, count):
    app = Adding()
    app.examples = count
    async with running(app, server, tmp_path) as task:
        session = await server.sessions.get()
        session.say(server.welcome())
        with pytest.raises(AppError, match="`num_examples` returned"):
            await task


# ---- the network


async def test_a_reconnect_does_not_start_training_again(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await reached(app.started)
        session.break_off()
        session = await server.joined()
        session.say(server.task(1))
        app.gate.set()
        header, _ = await server.updates.get()
    assert (app.fits, header.steps_done) == (1, 4)


async def test_a_result_that_was_ready_while_the_session_was_down_is_sent_on_the_next(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await reached(app.started)
        session.break_off()
        app.gate.set()
        await server.joined()  # this time the server does not repeat the task
        header, _ = await server.updates.get()
    assert header.round == 1


async def test_the_same_task_after_its_answer_got_lost_sends_the_same_update_again(server, tmp_path):
    app = Gated()
    app.gate.set()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        first = await server.updates.get()
        session.break_off()
        session = await server.joined()
        session.say(server.task(1))
        again = await server.updates.get()
    assert app.fits == 1
    assert first[0] == again[0]
    np.testing.assert_array_equal(first[1]["w"], again[1]["w"])


async def test_a_declined_task_is_declined_again_not_tried_again(server, tmp_path):
    async with running(Raising(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await session.heard()
        session.break_off()
        session = await server.joined()
        session.say(server.task(1))
        assert (await session.heard()).WhichOneof("kind") == "decline"


async def test_a_restarted_server_begins_its_attempt_anew(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await reached(app.started)
        session.break_off()
        server.epoch = 2
        session = await server.joined()
        session.say(server.task(1, attempt=2))
        app.gate.set()
        header, _ = await server.updates.get()
    assert (header.epoch, header.attempt, app.fits) == (2, 2, 2)
    assert server.updates.empty()


@pytest.mark.parametrize("answer", [AGAIN, BROKEN])
async def test_an_upload_that_did_not_get_through_is_repeated(server, tmp_path, answer):
    server.answers = [answer, BROKEN]
    async with running(Adding(), server, tmp_path):
        (await server.joined()).say(server.task(1))
        while (await server.updates.get())[0].round != 1:
            pass
    assert len(server.answers) <= 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [(CLOSED, "too late"), (pb.Ack(code=pb.REJECTED, reason=pb.OUT_OF_RANGE), "refused the update: OUT_OF_RANGE")],
)
async def test_a_refused_update_is_dropped_and_the_log_says_why(server, tmp_path, caplog, answer, words):
    server.answers = [answer]
    async with running(Adding(), server, tmp_path):
        session = await server.joined()
        session.say(server.task(1))
        await server.updates.get()
        session.say(server.task(2))
        assert (await server.updates.get())[0].round == 2
    assert words in caplog.text


async def test_dials_again_for_ever_while_the_fault_may_pass(server, tmp_path):
    server.dial_faults = [BROKEN] * 20
    async with running(Adding(), server, tmp_path):
        assert (await server.joined()).declared == 5


async def test_a_fault_that_will_not_pass_ends_the_client(server, tmp_path):
    server.dial_faults = [TransportError("PERMISSION_DENIED: not a member", retry=False)]
    with pytest.raises(TransportError, match="not a member"):
        await member(Adding(), server, tmp_path).run()


async def test_a_permanent_refusal_ends_the_client_and_another_does_not(server, tmp_path):
    refused = {"reason": pb.SHUTTING_DOWN, "message": "the server is stopping"}
    async with running(Adding(), server, tmp_path) as task:
        session = await server.sessions.get()
        session.say(pb.ServerMessage(refused=pb.Refused(**refused, permanent=False)))
        session = await server.sessions.get()
        session.say(pb.ServerMessage(refused=pb.Refused(**refused, permanent=True)))
        with pytest.raises(Refused, match="SHUTTING_DOWN: the server is stopping"):
            await task


async def test_what_only_a_later_server_says_is_passed_over(server, tmp_path):
    """Messages of kinds that do not exist today, before Welcome and after, and fields that do not in one that does."""
    unknown = pb.ServerMessage.FromString(bytes.fromhex("fa 01 02 00 00"))
    async with running(Adding(), server, tmp_path):
        session = await server.sessions.get()
        await session.heard()
        session.say(unknown)
        session.say(pb.ServerMessage.FromString(server.welcome().SerializeToString() + bytes.fromhex("fa 01 00")))
        await session.heard()
        session.say(unknown)
        session.say(server.task(1))
        assert (await server.updates.get())[0].round == 1


async def test_a_server_that_speaks_another_version_is_refused_with_both(server, tmp_path):
    async with running(Adding(), server, tmp_path) as task:
        session = await server.sessions.get()
        other = server.welcome()
        other.welcome.protocol_version = 3
        session.say(other)
        with pytest.raises(Refused, match="the server speaks protocol version 3, this client 1; update the older one"):
            await task


async def test_an_older_server_is_spoken_to_in_its_version(server, tmp_path, monkeypatch):
    for module in (messages, session_module):
        monkeypatch.setattr(module, "PROTOCOL_VERSIONS", (1, 2))
    async with running(Adding(), server, tmp_path):
        session = await server.sessions.get()
        assert list((await session.heard()).hello.protocol_versions) == [1, 2]
        session.say(server.welcome())
        assert (await session.heard()).declare.num_examples == 5


async def test_a_process_serves_one_job_only(server, tmp_path):
    async with running(Adding(), server, tmp_path) as task:
        session = await server.joined()
        session.break_off()
        session = await server.sessions.get()
        other = server.welcome()
        other.welcome.job_uid = "another"
        session.say(other)
        with pytest.raises(Refused, match="another job"):
            await task


# ---- the end


async def test_the_final_model_is_stored_handed_over_and_said_to_be_stored(server, tmp_path):
    class Proud(Adding):
        def finished(self, parameters, ctx):
            self.final = parameters["w"].copy()

    app = Proud()
    async with running(app, server, tmp_path) as task:
        session = await server.joined()
        session.say(server.finished())
        assert await ended(task, session) == "Complete"
    np.testing.assert_array_equal(load_file(tmp_path / "model.safetensors")["w"], [0, 1, 2])
    np.testing.assert_array_equal(app.final, [0, 1, 2])
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


async def test_a_model_that_is_held_is_not_fetched_for_the_end(server, tmp_path):
    async with running(Adding(), server, tmp_path) as task:
        session = await server.joined()
        session.say(server.task(1))
        await server.updates.get()
        session.say(server.finished())
        await ended(task, session)
    assert server.fetches == 1


async def test_the_end_stops_a_training_that_nobody_waits_for(server, tmp_path):
    app = Gated()
    async with running(app, server, tmp_path) as task:
        session = await server.joined()
        session.say(server.task(1))
        await reached(app.started)
        session.say(server.finished())
        assert await ended(task, session) == "Complete"
    assert app.stopped
    assert server.updates.empty()


async def test_a_failing_finished_does_not_lose_the_model(server, tmp_path, caplog):
    class Sorry(Adding):
        def finished(self, parameters, ctx):
            raise RuntimeError("no printer")

    async with running(Sorry(), server, tmp_path) as task:
        session = await server.joined()
        session.say(server.finished())
        assert await ended(task, session) == "Complete"
    assert (tmp_path / "model.safetensors").exists()
    assert "no printer" in caplog.text


async def test_a_failed_job_without_a_model_ends_the_client_too(server, tmp_path):
    async with running(Adding(), server, tmp_path) as task:
        session = await server.joined()
        session.say(pb.ServerMessage(finished=pb.Finished(outcome="Failed", reason="Diverged")))
        assert await task == "Failed"
    assert not (tmp_path / "model.safetensors").exists()


@pytest.fixture(autouse=True)
def _log_level(caplog):
    caplog.set_level(logging.INFO, logger="umbel.client")


def test_the_client_is_abstract_where_it_must_be():
    with pytest.raises(TypeError, match="fit"):
        type("Empty", (Client,), {})()
