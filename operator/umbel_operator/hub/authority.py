"""The federation's certificate authority: its key is a Secret of the hub's namespace, and signs what a pass wants."""

from __future__ import annotations

import ssl
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from umbel.wire import pki
from umbel_operator import names
from umbel_operator.hub.observed import Object, Tls
from umbel_operator.hub.settings import Settings
from umbel_operator.kube import SECRET, ApiError, Kube

CA_SECRET = "umbel-ca"


async def load_or_create(kube: Kube, settings: Settings) -> Authority:
    """The one authority of this hub; of two operators that start at once, the second finds the first's."""
    while True:
        live = await kube.get(SECRET, CA_SECRET, settings.namespace)
        if live is not None:
            bundle, key = (b64decode(live["data"][name]) for name in ("ca.crt", "ca.key"))
            return Authority(pki.Authority.from_pem(bundle, key), settings)
        made = pki.Authority.generate()
        data = {"ca.crt": made.bundle, "ca.key": made.key_pem}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": CA_SECRET,
                "namespace": settings.namespace,
                "labels": {names.MANAGED_BY: "umbel"},
            },
            "data": {name: b64encode(pem).decode() for name, pem in data.items()},
        }
        try:
            await kube.create(secret)
        except ApiError as error:
            if error.status != 409:
                raise


class Authority:
    """Signs; and is the operator itself towards the servers."""

    def __init__(self, authority: pki.Authority, settings: Settings) -> None:
        self._authority = authority
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._renew_at = 0.0

    @property
    def bundle(self) -> str:
        return self._authority.bundle.decode()

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

    def certificates(
        self, clients: Mapping[str, Object], signed: Mapping[str, str], now: float
    ) -> tuple[dict[str, str], dict[str, str]]:
        """(what each FederatedClient's certificate is to be, faults of requests by name). ``signed``: by this process
        before, so that nothing is signed twice while the API still shows the old."""
        found, faults = {}, {}
        for name, client in clients.items():
            request = (client.get("status") or {}).get("certificateRequest")
            current = signed.get(name) or client["spec"].get("certificate") or ""
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
