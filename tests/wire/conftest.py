"""One server for all faults: what a fault leaves behind would spoil the tests after it; that is part of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from .cohort import LATECOMER, SILOS, Cohort, gathered
from .deployment import Deployment, deployed, manifest


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("server"), manifest([*SILOS, LATECOMER])) as running:
        yield running


@pytest.fixture
async def cohort(server: Deployment) -> AsyncIterator[Cohort]:
    """Four members in an open round; silo-4 is the one that misbehaves."""
    async with gathered(server) as four:
        yield four
