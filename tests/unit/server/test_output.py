"""The model leaves for a file or an object store whole or not at all, and faults are one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import fsspec
import pytest
from moto.server import ThreadedMotoServer
from umbel.server import output
from umbel.server.output import OutputError

from . import disk

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


# ---- files


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_file_is_written_with_its_folders(model: Path, tmp_path: Path, scheme: str) -> None:
    target = tmp_path / "new" / "folders" / "final.safetensors"
    output.export(model, f"{scheme}{target}")
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["final.safetensors"]


@pytest.mark.parametrize("strike", [disk.no_space, disk.broken])
def test_a_local_copy_appears_whole_or_not_at_all(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strike: object
) -> None:
    target = tmp_path / "final.safetensors"
    target.write_bytes(b"older")
    for n in (1, 2):  # write, fsync
        with disk.failing(monkeypatch, n, strike), pytest.raises(OutputError) as raised:  # type: ignore[arg-type]
            output.export(model, str(target))
        assert str(raised.value).startswith(f"spec.model.output.uri: cannot write {target}: ")
        assert target.read_bytes() == b"older"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["final.safetensors", "state"]


def test_a_folder_is_no_file(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        output.export(model, str(tmp_path))


def test_a_path_through_a_file_is_one_line(model: Path) -> None:
    with pytest.raises(OutputError, match=r"^spec\.model\.output\.uri: cannot write .*: File exists$") as raised:
        output.export(model, f"{model}/final.safetensors")
    assert "\n" not in str(raised.value)


# ---- object stores


def test_any_file_system_of_fsspec_will_do(model: Path) -> None:
    output.export(model, "memory://bucket/trial/final.safetensors")
    assert fsspec.filesystem("memory").cat("/bucket/trial/final.safetensors") == CONTENT


@pytest.mark.parametrize(
    ("uri", "why"),
    [("nosuch://bucket/key", "Protocol not known"), ("abfs://container/key", "Install adlfs")],
)
def test_a_missing_driver_is_said_with_what_to_do(model: Path, uri: str, why: str) -> None:
    with pytest.raises(OutputError, match=rf"^spec\.model\.output\.uri: no driver for {uri} \({why}.*\); install it"):
        output.export(model, uri)
    with pytest.raises(OutputError, match=rf"^spec\.model\.initial\.uri: no driver for {uri} \({why}.*\); install it"):
        output.fetch(uri)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server with one bucket, ``models``; its credentials are in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-canary",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    client.close()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield f"http://{host}:{port}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


def stored(key: str) -> bytes:
    client = boto3.client("s3")
    try:
        return bytes(client.get_object(Bucket="models", Key=key)["Body"].read())
    finally:
        client.close()


def test_s3(s3: str, model: Path) -> None:
    output.export(model, "s3://models/trial/final.safetensors")
    assert stored("trial/final.safetensors") == CONTENT
    copy = output.fetch("s3://models/trial/final.safetensors")
    assert copy.read_bytes() == CONTENT


def test_s3_faults_are_one_line_without_credentials(s3: str, model: Path) -> None:
    with pytest.raises(OutputError, match=r"^spec\.model\.output\.uri: cannot write s3://nobody/key: ") as raised:
        output.export(model, "s3://nobody/key")
    assert "\n" not in str(raised.value)
    assert "secret-canary" not in str(raised.value)
    with pytest.raises(OutputError, match=r"^spec\.model\.initial\.uri: cannot read s3://models/missing: ") as raised:
        output.fetch("s3://models/missing")
    assert "\n" not in str(raised.value)


def test_credentials_in_an_address_are_not_repeated(model: Path) -> None:
    for uri in ("nosuch://user:canary@bucket/key", "nosuch://bucket/key?signature=canary"):
        with pytest.raises(OutputError) as raised:
            output.export(model, uri)
        assert "canary" not in str(raised.value)


# ---- reading


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_file_is_copied_not_moved(model: Path, scheme: str) -> None:
    copy = output.fetch(f"{scheme}{model}")
    assert copy.read_bytes() == model.read_bytes() == CONTENT
    assert copy != model


def test_what_is_not_there_is_one_line_and_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for uri in (str(tmp_path / "missing"), "memory://missing"):
        with pytest.raises(OutputError, match=r"^spec\.model\.initial\.uri: cannot read ") as raised:
            output.fetch(uri)
        assert "\n" not in str(raised.value)
    assert list(scratch.iterdir()) == []
