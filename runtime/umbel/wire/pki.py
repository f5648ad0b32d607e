"""Identities on disk: a small certificate authority, and what the certificates it issues say.

A caller is exactly one URI in its certificate, a server also the one DNS name that its clients expect whatever address
they dial. Certificates are short-lived instead of revocable; ECDSA P-256 keeps handshakes cheap and, with the cipher
suites that Umbel leaves enabled, rules TLS 1.2 out.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from umbel.wire.credentials import Credentials

TRUST_DOMAIN = "umbel.local"
CERTIFICATE_HOURS = 24.0
AUTHORITY_DAYS = 3650
RENEW_AFTER = 2 / 3  # of a certificate's life: a third is left for whoever could not renew at once
CLOCK_SKEW = datetime.timedelta(minutes=5)


def silo_id(trust_domain: str, name: str) -> str:
    return f"spiffe://{trust_domain}/silo/{name}"


def server_id(trust_domain: str, namespace: str, job: str) -> str:
    return f"spiffe://{trust_domain}/hub/server/{namespace}/{job}"


def operator_id(trust_domain: str) -> str:
    return f"spiffe://{trust_domain}/hub/operator"


def observer_id(trust_domain: str) -> str:
    """Who may read ``/status`` and nothing else: `umbel run`."""
    return f"spiffe://{trust_domain}/hub/observer"


def server_name(job: str, namespace: str) -> str:
    """The DNS name in a server's certificate, and the SNI its clients send."""
    return f"{job}.{namespace}.umbel.internal"


def expires_at(path: Path) -> float:
    """When the first certificate of a PEM file ends, in seconds since the epoch. Raises OSError, ValueError."""
    return expiry(path.read_bytes())


def expiry(pem: bytes) -> float:
    """The same of PEM bytes. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def renew_at(path: Path) -> float:
    """When the first certificate of a PEM file should be issued anew, in seconds since the epoch."""
    return renewal(path.read_bytes())


def renewal(pem: bytes) -> float:
    """The same of PEM bytes. Raises ValueError."""
    certificate = x509.load_pem_x509_certificate(pem)
    start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return start + RENEW_AFTER * (end - start)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority kept in one directory: ``ca.crt`` and ``ca.key``.

    ``ca.crt`` is the trust bundle handed to everybody; during a rotation it holds two authorities, and the one that
    issues is the one whose key is in ``ca.key``.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    bundle: bytes

    @classmethod
    def create(cls, directory: Path) -> Authority:
        """Make a new authority in ``directory`` (made if need be). One that is there already stays in the bundle."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        trusted = directory / "ca.crt"
        made = cls.generate(trusted.read_bytes() if trusted.exists() else b"")
        write_private(directory / "ca.key", made.key_pem)
        _write(trusted, made.bundle, 0o644)
        return made

    @classmethod
    def generate(cls, older: bytes = b"") -> Authority:
        """A new authority that is on no disk. The first of the bundle ``older`` stays trusted."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _authority_certificate(key)
        kept = x509.load_pem_x509_certificates(older)[:1] if older else []
        return cls(certificate, key, b"".join(map(_pem, [certificate, *kept])))

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """Raises OSError when a file is missing, ValueError when the two do not belong together."""
        try:
            return cls.from_pem((directory / "ca.crt").read_bytes(), (directory / "ca.key").read_bytes())
        except ValueError as error:
            raise ValueError(f"{directory}: {error}") from None

    @classmethod
    def from_pem(cls, bundle: bytes, key_pem: bytes) -> Authority:
        """Raises ValueError when the two do not belong together."""
        key = _private_key(key_pem)
        for certificate in x509.load_pem_x509_certificates(bundle):
            if certificate.public_key() == key.public_key():
                return cls(certificate, key, bundle)
        raise ValueError("ca.key belongs to none of the authorities in ca.crt")

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self.key)

    def issue(
        self, directory: Path, uri: str, dns: Sequence[str] = (), hours: float = CERTIFICATE_HOURS
    ) -> Credentials:
        """Write ``tls.crt``, ``tls.key`` and ``ca.crt`` of one identity into ``directory``.

        A key that is there is kept: a process that reads the files while they are renewed never finds a certificate
        and a key that do not belong together.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key_file = directory / "tls.key"
        if key_file.exists():
            key = _load_key(key_file)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(key_file, _key_pem(key))
        _write(directory / "ca.crt", self.bundle, 0o644)
        _write(directory / "tls.crt", _pem(self._sign(key.public_key(), uri, dns, hours)), 0o644)
        return Credentials(directory / "tls.crt", key_file, directory / "ca.crt")

    def sign_request(self, request: bytes, uri: str, hours: float = CERTIFICATE_HOURS) -> bytes:
        """A caller's certificate (PEM) for the key of a PEM request; the names in the request are not used.

        Raises ValueError for what is no request, has another kind of key, or was not signed by its own key.
        """
        asked = x509.load_pem_x509_csr(request)
        public = asked.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise ValueError("the request's key is not ECDSA P-256")
        if not asked.is_signature_valid:
            raise ValueError("the request is not signed by its own key")
        return _pem(self._sign(public, uri, (), hours))

    def certify(self, public_pem: bytes, uri: str, hours: float = CERTIFICATE_HOURS) -> bytes:
        """A caller's certificate (PEM) for a public key that it has proved to own. Raises ValueError."""
        public = serialization.load_pem_public_key(public_pem)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise ValueError("not an ECDSA key")
        return _pem(self._sign(public, uri, (), hours))

    def identity(self, uri: str, dns: Sequence[str] = (), hours: float = CERTIFICATE_HOURS) -> tuple[bytes, bytes]:
        """(certificate, key) as PEM of a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pem(self._sign(key.public_key(), uri, dns, hours)), _key_pem(key)

    def renewed(self, key_pem: bytes, uri: str, dns: Sequence[str] = (), hours: float = CERTIFICATE_HOURS) -> bytes:
        """A new certificate (PEM) of a key that is kept. Raises ValueError."""
        return _pem(self._sign(_private_key(key_pem).public_key(), uri, dns, hours))

    def _sign(self, public: ec.EllipticCurvePublicKey, uri: str, dns: Sequence[str], hours: float) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if dns else ExtendedKeyUsageOID.CLIENT_AUTH
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri), *map(x509.DNSName, dns)]
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name("umbel member" if not dns else "umbel server"))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + datetime.timedelta(hours=hours))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())


def write_private(path: Path, data: bytes) -> None:
    """Replace ``path`` at once with a file that only its owner reads."""
    _write(path, data, 0o600)


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def new_request() -> tuple[bytes, bytes]:
    """(request, key) as PEM of a new key. The request names nobody: whoever signs it knows who asks."""
    key = ec.generate_private_key(ec.SECP256R1())
    return request_for(_key_pem(key)), _key_pem(key)


def request_for(key_pem: bytes) -> bytes:
    """A certificate signing request (PEM) of a key. Raises ValueError."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name("umbel member"))
    return builder.sign(_private_key(key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        return _private_key(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an ECDSA key")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _authority_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    serial = x509.random_serial_number()
    # Two authorities in one bundle must differ in name: chain building looks issuers up by it.
    name = _name(f"umbel authority {serial & 0xFFFFFFFF:08x}")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
