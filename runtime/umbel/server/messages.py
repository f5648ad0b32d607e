"""The engine's actions as messages of the wire: pure translation."""

from __future__ import annotations

import json
from collections.abc import Iterable

from umbel.aggregation.strategies.qfedavg import TRAINING_LOSS
from umbel.aggregation.strategy import Strategy
from umbel.job import FederatedJob
from umbel.rounds import actions as do
from umbel.wire import umbel_pb2 as pb
from umbel.wire.layout import Layout

PROTOCOL_VERSIONS = (1,)  # and the one before, as soon as there are two

REFUSALS = {
    "NOT_A_MEMBER": ("this silo is not a member of the job", True),
    "REPLACED": ("a newer session of this silo has taken over", True),
    "NO_COMMON_VERSION": ("no protocol version in common: this server speaks {versions}; update the older one", True),
    "BAD_EXAMPLE_COUNT": ("the number of examples must be between 1 and spec.limits.maxExamples", True),
    "PROTOCOL_ERROR": ("a message came out of turn", True),
    "NOT_READY": ("the server does not know its members yet", False),
    "SHUTTING_DOWN": ("the server is stopping", False),
}


def refused(reason: str) -> pb.Refused:
    message, permanent = REFUSALS[reason]
    spoken = " and ".join(map(str, PROTOCOL_VERSIONS))
    return pb.Refused(reason=reason, message=message.format(versions=spoken), permanent=permanent)


def ack(code: str, reason: str = "") -> pb.Ack:
    return pb.Ack(code=code, reason=reason or None)


def layout(of: Layout) -> pb.Layout:
    return pb.Layout(
        tensors=[
            pb.Tensor(name=t.name, dtype=t.dtype, shape=t.shape, offset=t.offset, buffer=t.buffer) for t in of.tensors
        ]
    )


def welcome(version: int, job: FederatedJob, uid: str, epoch: int, down: Layout, up: Layout) -> pb.ServerMessage:
    return pb.ServerMessage(
        welcome=pb.Welcome(
            protocol_version=version,
            job=f"{job.metadata.namespace}/{job.metadata.name}",
            job_uid=uid,
            epoch=epoch,
            seed=job.spec.seed,
            config_json=json.dumps(dict(job.spec.app.config)),
            local_parameters=job.spec.model.local_parameters,
            model_layout=layout(down),
            update_layout=layout(up),
            max_upload_bytes=up.nbytes,
        )
    )


def task(action: do.SendTask, job: FederatedJob, epoch: int, strategy: Strategy, model_digest: str) -> pb.ServerMessage:
    return pb.ServerMessage(
        task=pb.Task(
            phase=pb.EVALUATE if action.evaluation else pb.TRAIN,
            round=action.round,
            attempt=action.attempt,
            epoch=epoch,
            model_version=action.round if action.evaluation else action.round - 1,
            model_digest=model_digest,
            seconds_left=action.seconds_left,
            grace_seconds=action.grace_seconds,
            strategy=job.spec.strategy.name,
            strategy_parameters=strategy.parameters,
            training_loss=TRAINING_LOSS in strategy.scalars,
            accepts_partial=job.spec.rounds.partial_updates != "Refuse",
        )
    )


def wrap_up(action: do.SendWrapUp) -> pb.ServerMessage:
    return pb.ServerMessage(
        wrap_up=pb.WrapUp(round=action.round, attempt=action.attempt, seconds_left=action.seconds_left)
    )


def cancel(action: do.SendCancel) -> pb.ServerMessage:
    return pb.ServerMessage(
        cancel=pb.Cancel(
            round=action.round, attempt=action.attempt, phase=pb.EVALUATE if action.evaluation else pb.TRAIN
        )
    )


def finished(outcome: str, reason: str, version: int, digest: str) -> pb.ServerMessage:
    return pb.ServerMessage(
        finished=pb.Finished(
            outcome=outcome,
            reason=reason,
            has_model=outcome == "Complete",
            model_version=version,
            model_digest=digest,
        )
    )


def common_version(offered: Iterable[int]) -> int | None:
    """The newest that both sides speak."""
    return max(set(offered) & set(PROTOCOL_VERSIONS), default=None)
