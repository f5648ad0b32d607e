"""TLS for gRPC: mutual, 1.3 only, certificates read again when they change.

grpcio has no option for a minimum version. Every certificate here has an ECDSA key, and the only TLS 1.2 suite left
enabled needs an RSA one: no 1.2 handshake can agree on a suite, so 1.3 remains. The variable is read when grpcio first
makes a TLS context, hence the assignment before the import.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"

import grpc

from umbel.wire.credentials import Credentials

SPIFFE = "spiffe://"


def server_credentials(files: Credentials) -> grpc.ServerCredentials:
    """Requires a client certificate of the trust bundle; the next handshake after a renewal has the new files."""

    def read() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(files.key.read_bytes(), files.certificate.read_bytes())], files.authorities.read_bytes()
        )

    def stamp() -> tuple[int, ...]:
        return tuple(p.stat().st_mtime_ns for p in (files.key, files.certificate, files.authorities))

    seen = [stamp()]

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        try:
            if (now := stamp()) == seen[0]:
                return None
            configuration = read()
        except OSError:  # in the middle of a renewal: the present certificate still serves
            return None
        seen[0] = now
        return configuration

    return grpc.dynamic_ssl_server_credentials(read(), fetch, require_client_authentication=True)


def channel_credentials(files: Credentials) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        files.authorities.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
    )


def silo_of(names: Sequence[bytes], uris: Sequence[bytes], trust_domain: str) -> str | None:
    """The silo that a peer's certificate names; None unless it has exactly one subject alternative name, a URI
    ``spiffe://<trust-domain>/silo/<name>``.

    ``names`` are those of every sort without saying which: a DNS name may read like a URI, so ``uris`` has to agree.
    """
    if len(names) != 1 or list(uris) != list(names):
        return None
    prefix = f"{SPIFFE}{trust_domain}/silo/"
    try:
        text = names[0].decode("ascii")
    except UnicodeDecodeError:
        return None
    name = text.removeprefix(prefix)
    return name if text.startswith(prefix) and name and "/" not in name else None
