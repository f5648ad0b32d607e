"""The server's port belongs to its run, also in the seconds in which a dead server is started again.

Clients know no other port, and a free one lies in the range from which the kernel takes the near end of any outgoing
connection, a client's own attempt to dial included.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def reserved(port: int) -> Iterator[int]:
    """Keep ``port`` (0: any free one) of 127.0.0.1 for a server that binds it with SO_REUSEADDR, as servers do.

    A socket that is bound and never listens is in no such server's way, and Linux gives its port to nobody who asks
    for any. Elsewhere it would be in the way, and nothing is reserved. Raises OSError.
    """
    if sys.platform != "linux":
        yield port
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        yield int(holder.getsockname()[1])
