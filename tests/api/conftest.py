"""Tests against a real API server: etcd, kube-apiserver and kube-controller-manager, without a node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "hack/cluster"))

from umbel_cluster import api as _api

from .hub import Operator, install
from .joining import Agent, Hub
from .proxy import Proxy, between, kubeconfig_for


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_api.Api]:
    """One for each worker, for the whole session: every test makes namespaces of its own."""
    with _api.serving(tmp_path_factory.mktemp("api")) as serving:
        yield serving


@pytest.fixture
def proxy(api: _api.Api) -> Iterator[Proxy]:
    with between(api.kubeconfig) as made:
        yield made


@pytest.fixture
def operator(proxy: Proxy, tmp_path: Path) -> Iterator[Operator]:
    """Behind the proxy; not started yet."""
    made = Operator(kubeconfig_for(proxy, tmp_path / "kubeconfig"), tmp_path)
    yield made
    made.kill()


@pytest.fixture(scope="module")
def hub(api: _api.Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    install(api, [])
    made = Hub(api, tmp_path_factory.mktemp("hub"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def silo(request: pytest.FixtureRequest, hub: Hub) -> Iterator[str]:
    """A name of its own for each test; nothing of it stays."""
    name = request.node.name.replace("_", "-").removeprefix("test-").split("[")[0][:45].strip("-")
    yield name
    if hub.api.kubectl("get", "silo", name, "--ignore-not-found"):
        hub.umbel("silo", "remove", name)


@pytest.fixture
def agent(silo: str, tmp_path: Path) -> Iterator[Agent]:
    made = Agent(silo, tmp_path)
    yield made
    made.stop()
