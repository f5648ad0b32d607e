"""The federation's certificate authority: its key is a Secret of the hub's namespace, and signs what a pass wants."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from umbel.wire import pki
from umbel_operator import logs
from umbel_operator.access import AccessError
from umbel_operator.hub import rotation
from umbel_operator.hub.observed import Object, Tls
from umbel_operator.hub.rotation import CA_SECRET
from umbel_operator.hub.settings import Settings
from umbel_operator.kube import SECRET, ApiError, Kube

KEEP_SECONDS = 5.0


async def load_or_create(kube: Kube, settings: Settings) -> Authority:
    """The one authority of this hub; of two operators that start at once, the second finds the first's."""
    while True:
        live = await kube.get(SECRET, CA_SECRET, settings.namespace)
        if live is not None:
            return Authority(rotation.read(live).authority(), settings)
        try:
            await kube.create(rotation.created(rotation.new(), settings.namespace))
        except ApiError as error:
            if error.status != 409:
                raise


async def keep(kube: Kube, settings: Settings, authority: Authority, replaced: Callable[[], None]) -> None:
    """For ever: what the Secret holds is what signs, and a rotation goes on when it is due. ``replaced``: called
    after every change."""
    while True:
        try:
            if await _kept(kube, settings, authority):
                replaced()
        except (ApiError, AccessError, ValueError) as error:
            logs.warning("the authority's Secret was not read; what was read last signs on", error=str(error))
        await asyncio.sleep(KEEP_SECONDS)


async def _kept(kube: Kube, settings: Settings, authority: Authority) -> bool:
    """Whether the authority is another now. The Secret is written only as it was read: of two who would, one does."""
    live = await kube.get(SECRET, CA_SECRET, settings.namespace)
    if live is None:
        raise ValueError(f"Secret {CA_SECRET} is not there; restore it with `umbel hub ca restore`")
    keys = rotation.read(live)
    if (following := rotation.advanced(keys, time.time())) is not None:
        body = rotation.written(following, settings.namespace)
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        await kube.patch(SECRET, CA_SECRET, settings.namespace, body)
        logs.info("the rotation of the authority went on", state=following.phase)
        keys = following
    return authority.replace(keys.authority())


class Authority:
    """Signs; and is the operator itself towards the servers."""

    def __init__(self, authority: pki.Authority, settings: Settings) -> None:
        self._authority = authority
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._renew_at = 0.0
        self._replaced = asyncio.Event()
        self.version = 0

    @property
    def bundle(self) -> str:
        return self._authority.bundle.decode()

    def replace(self, authority: pki.Authority) -> bool:
        """False: it is the very same."""
        if (authority.bundle, authority.key_pem) == (self._authority.bundle, self._authority.key_pem):
            return False
        self._authority, self._context = authority, None
        self.version += 1
        self._replaced.set()
        self._replaced = asyncio.Event()
        return True

    async def changed(self, version: int, seconds: float) -> None:
        """Returns when it is another than that ``version``, or after so many seconds."""
        if self.version == version:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._replaced.wait()

    def certify(self, public_key: str, uri: str) -> str:
        """A caller's certificate for a key (PEM) that it has proved to own."""
        return self._authority.certify(public_key.encode(), uri, self._settings.certificate_hours).decode()

    def served(self, dns: str, hours: float) -> tuple[bytes, bytes]:
        """(certificate, key) of a service of the hub itself."""
        return self._authority.identity(pki.operator_id(self._settings.trust_domain), [dns], hours)

    def tls(self, namespace: str, job: str, secret: Object | None, now: float) -> Tls:
        """The server's certificate: the one in its Secret, or a new one when that is old, of another authority or not
        there. A key is kept."""
        data = {name: b64decode(text) for name, text in ((secret or {}).get("data") or {}).items()}
        certificate, key = data.get("tls.crt", b""), data.get("tls.key", b"")
        if certificate and key and now < _renewal(certificate) and data.get("ca.crt") == self._authority.bundle:
            return Tls(certificate.decode(), key.decode(), self.bundle)
        uri = pki.server_id(self._settings.trust_domain, namespace, job)
        dns, hours = [pki.server_name(job, namespace)], self._settings.certificate_hours
        if key:
            certificate = self._authority.renewed(key, uri, dns, hours)
        else:
            certificate, key = self._authority.identity(uri, dns, hours)
        return Tls(certificate.decode(), key.decode(), self.bundle)

    def certificates(self, clients: Mapping[str, Object], now: float) -> tuple[dict[str, str], dict[str, str]]:
        """(what each FederatedClient's certificate is to be, faults of requests by name)."""
        found, faults = {}, {}
        for name, client in clients.items():
            request = (client.get("status") or {}).get("certificateRequest")
            current = client["spec"].get("certificate") or ""
            if request and not (current and self._fits(current, request, now)):
                uri = pki.silo_id(self._settings.trust_domain, client["spec"]["silo"])
                try:
                    hours = self._settings.certificate_hours
                    current = self._authority.sign_request(request.encode(), uri, hours).decode()
                except ValueError as error:
                    faults[name] = str(error)
            if current:
                found[name] = current
        return found, faults

    def _fits(self, certificate: str, request: str, now: float) -> bool:
        """Whether it is of the request's key, of this authority, and young enough."""
        try:
            have = x509.load_pem_x509_certificate(certificate.encode())
            asked = x509.load_pem_x509_csr(request.encode())
        except ValueError:
            return False
        same_key = _public(have.public_key()) == _public(asked.public_key())
        return same_key and have.issuer == self._authority.certificate.subject and now < _renewal(certificate.encode())

    def context(self, now: float) -> ssl.SSLContext:
        """To speak to servers as the operator; made anew at two thirds of the certificate's life."""
        if self._context is None or now >= self._renew_at:
            uri = pki.operator_id(self._settings.trust_domain)
            certificate, key = self._authority.identity(uri, hours=self._settings.certificate_hours)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_verify_locations(cadata=self.bundle)
            with tempfile.TemporaryDirectory() as folder:
                pki.write_private(Path(folder) / "pair.pem", certificate + key)  # OpenSSL reads a key only from a file
                context.load_cert_chain(Path(folder) / "pair.pem")
            self._context, self._renew_at = context, _renewal(certificate)
        return self._context


def _renewal(pem: bytes) -> float:
    try:
        return pki.renewal(pem)
    except ValueError:
        return 0.0


def _public(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
