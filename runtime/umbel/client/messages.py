"""Messages of the wire to and from the SDK's types: pure translation."""

from __future__ import annotations

from importlib import metadata

from umbel.wire import umbel_pb2 as pb
from umbel.wire.layout import Layout, Tensor

PROTOCOL_VERSIONS = (1,)


def layout(message: pb.Layout) -> Layout:
    return Layout(
        tuple(Tensor(t.name, t.dtype, tuple(int(n) for n in t.shape), t.offset, t.buffer) for t in message.tensors)
    )


def hello() -> pb.ClientMessage:
    software = f"umbel-python/{metadata.version('umbel')}"
    return pb.ClientMessage(hello=pb.Hello(protocol_versions=PROTOCOL_VERSIONS, software=software))


def declare(num_examples: int) -> pb.ClientMessage:
    return pb.ClientMessage(declare=pb.Declare(num_examples=num_examples))


def heartbeat() -> pb.ClientMessage:
    return pb.ClientMessage(heartbeat=pb.Heartbeat())


def stored() -> pb.ClientMessage:
    return pb.ClientMessage(stored=pb.Stored())
