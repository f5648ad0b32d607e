"""TLS of the admin side: 1.3 only, a client certificate always, files read again when they change."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl

from umbel.wire.credentials import Credentials

Stamps = tuple[tuple[int, int, int], ...]


class FreshContext:
    """``context`` is what listens. Each handshake looks whether the files changed and is then done with what they say
    now: a renewed certificate, authorities that came or went. Files in the middle of a renewal wait for the next."""

    def __init__(self, files: Credentials) -> None:
        """Raises OSError (ssl.SSLError is one) for files that cannot be used."""
        self._files = files
        self._stamps = self._look()
        self.context = self._newest = _context(files)
        self.context.sni_callback = self._choose

    def _look(self) -> Stamps:
        stats = map(os.stat, (self._files.certificate, self._files.key, self._files.authorities))
        return tuple((s.st_ino, s.st_mtime_ns, s.st_size) for s in stats)

    def _choose(self, handshake: ssl.SSLObject, name: str | None, listening: ssl.SSLContext) -> None:
        """OpenSSL calls this for every handshake, with or without a server name in it."""
        with contextlib.suppress(OSError):
            stamps = self._look()
            if stamps != self._stamps:
                self._newest, self._stamps = _context(self._files), stamps
        handshake.context = self._newest


def _context(files: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # a resumed session would skip the look at the certificate
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.authorities)
    return context


def identity(transport: asyncio.BaseTransport | None) -> str | None:
    """The one URI in the caller's certificate; None for any other set of names."""
    tls = transport.get_extra_info("ssl_object") if transport else None
    certificate = tls.getpeercert() if tls else None
    names = (certificate or {}).get("subjectAltName", ())
    if len(names) != 1 or names[0][0] != "URI":
        return None
    return str(names[0][1])
