"""The certificates of a run: a throw-away authority, the server, every silo, and whoever reads ``/status``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from umbel.cli.running.directory import RunDirectory
from umbel.wire import pki
from umbel.wire.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Identities:
    """Everybody in one run. ``namespace`` and ``job`` make the server's names."""

    run: RunDirectory
    namespace: str
    job: str
    silos: Sequence[str]

    @property
    def server_name(self) -> str:
        return pki.server_name(self.job, self.namespace)

    @property
    def observer(self) -> str:
        return pki.observer_id(pki.TRUST_DOMAIN)

    @property
    def observer_credentials(self) -> Credentials:
        tls = self.run.observer
        return Credentials(tls / "tls.crt", tls / "tls.key", tls / "ca.crt")

    def issue(self) -> float:
        """Issue every certificate anew; returns when that is due again, in seconds since the epoch."""
        directory = self.run.authority
        known = (directory / "ca.key").exists()
        authority = pki.Authority.load(directory) if known else pki.Authority.create(directory)
        server = pki.server_id(pki.TRUST_DOMAIN, self.namespace, self.job)
        authority.issue(self.run.server_tls, server, [self.server_name])
        for silo in self.silos:
            authority.issue(self.run.silo(silo) / "tls", pki.silo_id(pki.TRUST_DOMAIN, silo))
        observer = authority.issue(self.run.observer, self.observer)
        return pki.renew_at(observer.certificate)
