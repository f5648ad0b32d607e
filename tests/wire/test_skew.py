"""Members of other versions at a real server: by the bytes of their Hello, and a whole client that is too old."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from .cohort import LATECOMER, MALLORY, SILOS, Cohort
from .deployment import APP, PATIENCE, SERVER_NAME, Deployment
from .speaking import Member, as_layout, dial

pytestmark = pytest.mark.process

# ClientMessage.hello (field 1) with protocol_versions (field 1, packed) and nothing else: what version 1 has to bring.
FIRST = bytes.fromhex("0a 03 0a 01 01")
# Versions 1 to 3, features "later", software "x", and in Hello and beside it fields that do not exist today.
LATER = bytes.fromhex("0a 14 0a 03 01 02 03 12 05") + b"later" + bytes.fromhex("1a 01 78 fa 01 02 00 00 fa 01 00")
TOO_OLD = """
import sys
from umbel.client import messages, session
messages.PROTOCOL_VERSIONS = session.PROTOCOL_VERSIONS = (0,)
from umbel.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("said", [FIRST, LATER], ids=["first", "later"])
async def test_a_member_of_another_version_takes_part_in_rounds(cohort: Cohort, said: bytes) -> None:
    channel = dial(cohort.server.address, cohort.server.credentials(MALLORY))
    async with Member(MALLORY, channel) as other:
        other.open()
        await other.say(said)
        other.welcome = await other.expect("welcome")
        assert other.welcome.protocol_version == 1
        other.down, other.up = as_layout(other.welcome.model_layout), as_layout(other.welcome.update_layout)
        other.examples = 40
        await other.declare(40)
        assert (await other.task()).round == cohort.task.round
        cohort.members[MALLORY] = cohort.mallory = other
        await cohort.settle(SILOS)


async def test_a_client_that_is_too_old_ends_with_the_reason(
    server: Deployment, cohort: Cohort, tmp_path: Path
) -> None:
    tls = server.credentials(LATECOMER).certificate.parent
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TOO_OLD, "client", "--server", server.url, "--server-name", SERVER_NAME),
        *("--tls", str(tls), "--client", "tiny:app", "--path", str(APP), "--silo", LATECOMER),
        *("--state", str(tmp_path / "state")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 2
    assert stderr.decode().splitlines()[-1] == (
        "umbel: the server refused this client: NO_COMMON_VERSION: "
        "no protocol version in common: this server speaks 1; update the older one"
    )
    await cohort.settle(SILOS)
