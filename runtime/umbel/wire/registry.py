"""Which transport speaks a URL: found by its scheme among the installed entry points, so any package can add one."""

from __future__ import annotations

from importlib import metadata
from typing import cast
from urllib.parse import urlsplit

from umbel.wire.transport import Transport, TransportError

ENTRY_POINTS = "umbel.transports"


def transport_for(url: str) -> Transport:
    """An instance of the transport that is registered for the URL's scheme.

    Raises TransportError (not to be retried) for a scheme nobody registered or a transport that cannot be imported.
    """
    scheme = urlsplit(url).scheme
    found = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    if scheme not in found:
        known = ", ".join(f"{name}://" for name in sorted(found)) or "none"
        raise TransportError(f"{url}: no transport for {scheme or 'no'}://; installed: {known}", retry=False)
    try:
        return cast(Transport, found[scheme].load()())
    except (ImportError, AttributeError) as error:
        raise TransportError(
            f"{url}: transport {found[scheme].value} cannot be loaded: {error}", retry=False
        ) from error
