"""Another transport, brought by another package: found by its scheme, and a whole job runs over it as it is.

As it keeps every byte that crosses, it also shows what never does: parameters that stay in their silo.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from safetensors.numpy import load_file

import umbel
from umbel.client.context import Dataset
from umbel.client.session import Member
from umbel.client.silo import Site
from umbel.server import app  # the whole process but for its hardening
from umbel.wire import pki, registry
from umbel.wire.layout import Array
from umbel.wire.transport import TransportError

from .deployment import APP, JOB, NAMESPACE, PATIENCE, SERVER_NAME, UID, manifest

SILOS = ("silo-1", "silo-2", "silo-3")
TOY = Path(__file__).parent / "toy"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The package `umbel-toy`, installed: its module importable, its metadata where Python looks for entry points."""
    installed = tmp_path / "site-packages"
    metadata = installed / "umbel_toy-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: umbel-toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[umbel.transports]\ntoy = toy_transport:ToyTransport\n")
    (installed / "toy_transport.py").write_bytes((TOY / "toy_transport.py").read_bytes())
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.syspath_prepend(str(APP))
    yield import_module("toy_transport")
    for name in ("toy_transport", "tiny"):
        sys.modules.pop(name, None)


def test_a_scheme_is_found_among_the_installed_packages(toy: Any) -> None:
    assert isinstance(registry.transport_for("toy://anywhere"), toy.ToyTransport)


def test_a_scheme_that_nobody_brings_is_refused_with_those_that_there_are(toy: Any) -> None:
    with pytest.raises(TransportError, match="no transport for pigeon://; installed: grpcs://, toy://") as caught:
        registry.transport_for("pigeon://loft")
    assert not caught.value.retry


async def federate(folder: Path, clients: dict[str, umbel.Client], **spec: Any) -> list[str]:
    """Server and members of one job in this process, over ``toy://``; the members' outcomes."""
    authority = pki.Authority.create(folder / "ca")
    authority.issue(folder / "tls", pki.server_id("umbel.local", NAMESPACE, JOB), [SERVER_NAME])
    rounds = {"total": 2, "timeoutSeconds": 60}
    job = manifest(list(clients), rounds=rounds, evaluation={"everyRounds": 1}, **spec)
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    options = app.Options(
        job=folder / "job.yaml",
        state=folder / "state",
        uid=UID,
        listen="toy://here",
        tls=folder / "tls",
        admin="127.0.0.1:0",
        http="127.0.0.1:0",
        trust_domain="umbel.local",
        operator=None,
        observer=None,
        endpoints=None,
        paths=(str(APP),),
    )
    serving = asyncio.create_task(app._run(options))
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*(take_part(folder, silo, client) for silo, client in clients.items()))
        assert await serving == app.COMPLETE
    return outcomes


async def take_part(folder: Path, silo: str, client: umbel.Client) -> str:
    url = f"toy://{silo}@here"
    state = folder / silo
    state.mkdir()
    transport = registry.transport_for(url)
    return await Member(
        client, Site(silo, Dataset("none", None), state), lambda: transport.connect(url, None, "")
    ).run()


@pytest.mark.process
async def test_a_whole_job_over_another_transport(toy: Any, tmp_path: Path) -> None:
    tiny = import_module("tiny")
    before = asyncio.all_tasks()
    outcomes = await federate(tmp_path, {silo: tiny.Tiny() for silo in SILOS})
    assert outcomes == ["Complete"] * 3
    models = [load_file(tmp_path / silo / "model.safetensors") for silo in SILOS]
    moved = 2 * (1 * 10 + 2 * 20 + 3 * 30) / 60  # two rounds, silo-k of weight 10·k moving by k
    np.testing.assert_allclose(models[0]["body.bias"], np.full(7, moved), rtol=1e-6)
    assert all(model["body.weight"].tobytes() == models[0]["body.weight"].tobytes() for model in models)
    assert toy.PLACES == {}
    assert asyncio.all_tasks() == before, "every task of the server and its members has ended"


def secret(silo: str) -> NDArray[np.float32]:
    """Private parameters whose bytes are found nowhere by accident."""
    return np.linspace(13371.337, 73313.73, 9).astype(np.float32) * float(silo[-1])


@pytest.mark.process
async def test_no_byte_of_private_parameters_crosses_the_wire(toy: Any, tmp_path: Path) -> None:
    base = import_module("tiny").Tiny
    private: list[NDArray[np.float32]] = []
    sent: list[Array] = []

    class Guarded(base):  # type: ignore[misc,valid-type]
        def fit(self, parameters: dict[str, Any], ctx: umbel.Context) -> umbel.Update:
            head = secret(ctx.silo) + np.float32(ctx.round)
            private.extend([head, parameters["head.weight"], head - parameters["head.weight"]])
            shared = {**parameters, "body.bias": parameters["body.bias"] + secret(ctx.silo)[:7] / 1e4}
            sent.append(shared["body.bias"] - parameters["body.bias"])
            return umbel.Update({**shared, "head.weight": head})

    outcomes = await federate(tmp_path, {silo: Guarded() for silo in SILOS}, model={"localParameters": ["head.*"]})
    assert outcomes == ["Complete"] * 3
    wire = b"\n".join(toy.RECORD)
    assert all(update.tobytes() in wire for update in sent), "what is sent is on record"
    assert len(private) == 3 * 2 * 3
    values = [value for array in private for value in array.reshape(-1).tolist() if value != 1.0]
    leaked = [v for v in values for kind in (np.float32, np.float64) if np.array(v, kind).tobytes() in wire]
    assert leaked == []
    for silo in SILOS:
        kept = load_file(tmp_path / silo / "model.safetensors")["head.weight"]
        np.testing.assert_array_equal(kept, secret(silo) + np.float32(2))
