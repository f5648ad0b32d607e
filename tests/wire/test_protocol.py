"""The protocol as docs/protocol.md tells it, spoken by hand from Hello to Stored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from umbel.wire import umbel_pb2 as pb

from .cohort import SILOS, gathered
from .deployment import NAMESPACE, UID, deployed, eventually, manifest
from .oracle import assert_is_the_mean

pytestmark = pytest.mark.process


async def test_a_job_from_hello_to_stored(tmp_path: Path) -> None:
    job = manifest(SILOS, rounds={"total": 1, "timeoutSeconds": 300}, evaluation={"everyRounds": 1})
    with deployed(tmp_path, job) as server:
        async with gathered(server) as cohort:
            members, first = list(cohort.members.values()), cohort.mallory
            assert first.welcome.protocol_version == 1
            assert first.welcome.job == f"{NAMESPACE}/tiny"
            assert first.welcome.job_uid == UID
            assert first.welcome.max_upload_bytes == first.up.nbytes
            assert cohort.task.model_version == 0
            assert cohort.task.strategy == "FedAvg"
            assert 0 < cohort.task.seconds_left <= 300

            for member in members:
                await cohort.send(member.silo)
            evaluations = await asyncio.gather(*(m.task(pb.EVALUATE) for m in members))
            assert {(t.round, t.attempt, t.model_version) for t in evaluations} == {(1, cohort.task.attempt, 1)}
            cohort.settled = True
            model = await first.model(1)
            counted = [(update, cohort.members[silo].examples) for silo, update in cohort.accepted.items()]
            assert_is_the_mean(first.down, first.up, cohort.before, model, counted)

            for member in members:
                ack = await member.evaluate(evaluations[0], 5, {"loss": 2.0, "undeclared": 1.0})
                assert ack.code == pb.ACCEPTED
            for member in members:
                finished = await member.expect("finished")
                assert (finished.outcome, finished.has_model, finished.model_version) == ("Complete", True, 1)
                assert finished.model_digest
                assert (await member.model(1)).tobytes() == model.tobytes()
            released = server.metrics()
            assert released["fl_model_loss{phase=evaluate}"] == 2.0
            assert released["fl_join_requests_total{outcome=accepted}"] == 4
            assert released["fl_transfer_bytes_total{direction=up}"] == 4 * first.up.nbytes
            for member in members:
                await member.say(pb.ClientMessage(stored=pb.Stored()))
            assert [await member.hear() for member in members] == [None] * 4
        assert await eventually(lambda: server.process.poll() is not None, "the server's end")
        assert server.process.returncode == 0
        stored = load_file(tmp_path / "state" / "checkpoints" / "checkpoint-000001" / "model.safetensors")
        for name, view in first.down.views(model).items():
            assert stored[name].tobytes() == view.tobytes()
