"""The silo's key and certificate for one job. The key is made here and stays here; the hub signs a request for it."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from umbel.wire.pki import CLOCK_SKEW, RENEW_AFTER, silo_id

FIRST = "umbel member"
PrivateKey = ec.EllipticCurvePrivateKey


def new_key() -> bytes:
    """PEM of an EC P-256 key."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> PrivateKey:
    """Raises ValueError."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an ECDSA key")
    return key


def request(key: PrivateKey, before: str, certificate: str, now: float) -> str:
    """The signing request to show the hub. ``before``, the one it has, stays while it will do.

    Its subject names the certificate that it is to replace: at two thirds of that one's life the text changes, which
    asks for another, and then it stays the same until that has been heard.
    """
    due = _to_replace(key, certificate, now)
    subject = _subject(key, before)
    if subject is not None and (due is None or subject == due):
        return before
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, due or FIRST)])
    )
    return (
        builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(serialization.Encoding.PEM).decode()
    )


def fault(key: PrivateKey, certificate: str, authorities: str, trust_domain: str, silo: str, now: float) -> str | None:
    """Why ``certificate`` must not be used; None: it is this silo's, by an authority of the hub."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        issuers = x509.load_pem_x509_certificates(authorities.encode())
        names = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, x509.ExtensionNotFound):
        return "it cannot be read"
    if found.public_key() != key.public_key():
        return "it is for another key"
    expected = silo_id(trust_domain, silo)
    if names != [x509.UniformResourceIdentifier(expected)]:
        return f"it is not for {expected} alone"
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if not found.not_valid_before_utc - CLOCK_SKEW <= moment < found.not_valid_after_utc:
        return "it is not valid now"
    if not any(_issued(found, issuer) for issuer in issuers):
        return "none of the hub's authorities signed it"
    return None


def renew_at(certificate: str) -> float | None:
    """When another should be asked for; None: that is not a certificate."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        return None
    start, end = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    return start + RENEW_AFTER * (end - start)


def _to_replace(key: PrivateKey, certificate: str, now: float) -> str | None:
    """The subject that asks for the successor of ``certificate``, once it is due."""
    due = renew_at(certificate)
    if due is None or now < due:
        return None
    found = x509.load_pem_x509_certificate(certificate.encode())
    return f"umbel renewal {found.serial_number:x}" if found.public_key() == key.public_key() else None


def _subject(key: PrivateKey, pem: str) -> str | None:
    """The subject of a request that is ours."""
    try:
        found = x509.load_pem_x509_csr(pem.encode())
        if found.public_key() != key.public_key() or not found.is_signature_valid:
            return None
        return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except (ValueError, IndexError):
        return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
