"""The model goes where the job says, whole or not at all, and a refusal says which field to mend."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from umbel.server import files, output, tensors
from umbel.server.output import OutputError

from . import disk


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    tensors.write_model(path, disk.LAYOUT, disk.model(1))
    return path


def said(raised: pytest.ExceptionInfo[OutputError]) -> str:
    text = str(raised.value)
    assert "\n" not in text
    return text


# ---- a local path


@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize("name", ["out.safetensors", "new/folder/out", "a b#c?d.safetensors", "ünï%20"])
def test_a_local_path_is_taken_as_it_is(tmp_path: Path, model: Path, prefix: str, name: str) -> None:
    target = tmp_path / "to" / name
    output.export(model, f"{prefix}{target}")
    assert target.read_bytes() == model.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    copy = output.fetch(f"{prefix}{target}")
    assert copy.read_bytes() == model.read_bytes()


def test_a_relative_path_is_one_of_the_working_directory(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output.export(model, "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == model.read_bytes()


def test_an_older_file_is_replaced(tmp_path: Path, model: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"older, and longer than the model" * 1000)
    output.export(model, str(target))
    assert target.read_bytes() == model.read_bytes()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_local_copy_that_fails_leaves_the_older_file(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "to" / "out"
    output.export(model, str(target))
    target.write_bytes(b"older")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OutputError) as raised:
        output.export(model, str(target))
    assert said(raised) == f"spec.model.output.uri: cannot write {target}: No space left on device"
    assert target.read_bytes() == b"older"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_the_local_copy_is_on_disk_before_it_has_its_name(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real: dict[str, Any] = {"fsync": os.fsync, "replace": os.replace, "sync_directory": files.sync_directory}

    def noting(name: str) -> Any:
        def call(*arguments: Any) -> Any:
            order.append(name)
            return real[name](*arguments)

        return call

    monkeypatch.setattr(os, "fsync", noting("fsync"))
    monkeypatch.setattr(os, "replace", noting("replace"))
    monkeypatch.setattr(files, "sync_directory", noting("sync_directory"))
    output.export(model, str(tmp_path / "out"))
    assert order == ["fsync", "replace", "sync_directory", "fsync"]


def test_a_folder_is_no_target(tmp_path: Path, model: Path) -> None:
    with pytest.raises(OutputError) as raised:
        output.export(model, str(tmp_path))
    assert said(raised) == f"spec.model.output.uri: {tmp_path} is a folder; name a file in it"


def test_a_file_that_is_not_there_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as raised:
        output.fetch(str(tmp_path / "none"))
    assert said(raised) == f"spec.model.initial.uri: cannot read {tmp_path / 'none'}: No such file or directory"


def test_a_fetch_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for uri in ("/does/not/exist", "nonsense://x/y"):
        with pytest.raises(OutputError):
            output.fetch(uri)
    assert list(tmp_path.iterdir()) == []


# ---- drivers


def test_a_scheme_without_a_driver_says_so(model: Path) -> None:
    for act in (lambda uri: output.export(model, uri), output.fetch):
        with pytest.raises(OutputError) as raised:
            act("nonsense://bucket/model")
        assert "no driver for nonsense://bucket/model" in said(raised)
        assert said(raised).endswith("install it in the image")


def test_a_driver_that_is_not_installed_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(OutputError, match=r"no driver for gs://bucket/model \(.*gcsfs.*\); install it in the image"):
        output.export(model, "gs://bucket/model")


def test_a_signature_in_an_address_is_not_repeated(model: Path) -> None:
    with pytest.raises(OutputError) as raised:
        output.export(model, "nonsense://bucket/model?sig=CANARY&se=1")
    assert "CANARY" not in said(raised)


class Broken(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store whose error is a page of text with the address in it."""

    protocol = "broken"

    def put_file(self, local: str, path: str, **_: Any) -> None:
        raise RuntimeError(f"403 Forbidden\nfor https://{path}?signature=CANARY\n" + "long " * 1000)


def test_the_words_of_a_driver_become_one_short_line(model: Path) -> None:
    fsspec.register_implementation("broken", Broken, clobber=True)
    with pytest.raises(OutputError) as raised:
        output.export(model, "broken://host/model")
    assert "403 Forbidden for https://host/model" in said(raised)
    assert "CANARY" not in said(raised)
    assert len(said(raised)) < 400


# ---- S3


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the store, and the environment that a job's credentialsSecret makes."""
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "CANARYKEY",
        "AWS_SECRET_ACCESS_KEY": "CANARYSECRET",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("http_proxy", "HTTP_PROXY", "AWS_PROFILE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="models")
    yield client
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    for item in client.list_objects_v2(Bucket="models").get("Contents", []):
        client.delete_object(Bucket="models", Key=item["Key"])
    client.delete_bucket(Bucket="models")
    client.close()


@pytest.mark.process
def test_the_model_goes_to_s3_and_comes_back(s3: Any, model: Path) -> None:
    output.export(model, "s3://models/trial/model.safetensors")
    stored = s3.get_object(Bucket="models", Key="trial/model.safetensors")["Body"].read()
    assert stored == model.read_bytes()
    copy = output.fetch("s3://models/trial/model.safetensors")
    layout, loaded = tensors.read_model(copy)
    assert layout == disk.LAYOUT
    assert loaded.tobytes() == disk.model(1).tobytes()


@pytest.mark.process
def test_a_bucket_that_is_not_there_is_not_made(s3: Any, model: Path) -> None:
    with pytest.raises(OutputError) as raised:
        output.export(model, "s3://other/model.safetensors")
    assert said(raised).startswith("spec.model.output.uri: cannot write s3://other/model.safetensors: ")
    assert "CANARY" not in said(raised)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["models"]


@pytest.mark.process
def test_a_key_that_is_not_there_names_the_field(s3: Any) -> None:
    with pytest.raises(OutputError) as raised:
        output.fetch("s3://models/none")
    assert said(raised).startswith("spec.model.initial.uri: cannot read s3://models/none: ")


@pytest.mark.process
def test_a_store_that_is_away_names_the_field(model: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(OutputError) as raised:
        output.export(model, "s3://models/model.safetensors")
    assert "cannot write s3://models/model.safetensors" in said(raised)
    assert "CANARY" not in said(raised)
