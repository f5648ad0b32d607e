"""umbel_pb2 is what protoc makes of umbel.proto, and the protocol's page knows every name of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from umbel.wire import umbel_pb2 as pb

WIRE = Path(pb.__file__).parent
ROOT = WIRE.parents[2]


@pytest.mark.parametrize("name", ["umbel_pb2.py", "umbel_pb2.pyi"])
def test_the_generated_code_is_of_this_proto(tmp_path: Path, name: str) -> None:
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{WIRE}", *out, "umbel.proto"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / name).read_text() == (WIRE / name).read_text()


def named() -> list[str]:
    kinds = (pb.RejectReason, pb.AckCode, pb.RefusalReason, pb.Phase)
    messages = [*pb.ClientMessage.DESCRIPTOR.fields, *pb.ServerMessage.DESCRIPTOR.fields]
    codes = [name for kind in kinds for name in list(kind.keys()) if "UNSPECIFIED" not in name]
    return codes + [field.message_type.name for field in messages]


@pytest.mark.parametrize("name", named())
def test_the_page_on_the_protocol_explains_every_code_and_message(name: str) -> None:
    assert name in (ROOT / "docs" / "protocol.md").read_text()
