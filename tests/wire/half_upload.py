"""A client process that never finishes its upload: sends what it is told to, says so on standard output, and hangs.

``python -m wire.half_upload ADDRESS FOLDER``: hex frames, one a line, on standard input; credentials in FOLDER.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from umbel.wire import umbel_pb2 as pb
from umbel.wire.credentials import Credentials

from .speaking import Member, dial


async def main(address: str, folder: Path) -> None:
    sent = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    credentials = Credentials(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    async with Member("", dial(address, credentials)) as member:
        await member.begin_upload(pb.Task(), sent)
        print("sent", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
