"""What hub and silo agree on about joining: names, paths, the bundle that is carried from one to the other."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

JOIN_PATH, RENEW_PATH = "/v1/join", "/v1/renew"
SERVER_NAME = "join.umbel.internal"  # in the join service's certificate, whatever address a silo dials
BUNDLE_KIND = "JoinBundle"
MAX_NAME = 50  # of a silo, as in the CustomResourceDefinition
ACCEPT_EXPIRED = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python's ssl has no name for
SILO_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

# Why a request was refused.
TOKEN_NOT_VALID = "TokenNotValid"
TOKEN_USED = "TokenUsed"
INVITATION_EXPIRED = "InvitationExpired"
REQUEST_NOT_VALID = "RequestNotValid"
REMOVED = "Removed"
THROTTLED = "Throttled"
UNAVAILABLE = "Unavailable"


class BundleError(Exception):
    """One line: the file, the field, what is wrong with it, what would be right."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """``url``: of the join service. ``authorities``: PEM, the only ones that the silo trusts there. ``expires``: as the
    hub says; whether it is over, the hub decides."""

    silo: str
    url: str
    trust_domain: str
    authorities: str
    token: str
    expires: str

    def text(self) -> str:
        return yaml.safe_dump(
            {
                "kind": BUNDLE_KIND,
                "silo": self.silo,
                "url": self.url,
                "trustDomain": self.trust_domain,
                "token": self.token,
                "expires": self.expires,
                "authorities": self.authorities,
            },
            sort_keys=False,
        )


def read_bundle(path: Path) -> Bundle:
    """Raises BundleError."""
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); name the file of `umbel silo invite`") from None
    except (ValueError, yaml.YAMLError):
        raise BundleError(f"{path}: is no YAML; name the file of `umbel silo invite`") from None
    if not isinstance(found, dict) or found.get("kind") != BUNDLE_KIND:
        raise BundleError(f"{path}: kind: is no {BUNDLE_KIND}; name the file of `umbel silo invite`")
    fields = ("silo", "url", "trustDomain", "authorities", "token", "expires")
    for name in fields:
        if not isinstance(found.get(name), str) or not found[name]:
            raise BundleError(f"{path}: {name}: is missing; have the hub's administrator invite the silo again")
    if unknown := sorted(map(str, found.keys() - {*fields, "kind"})):
        raise BundleError(f"{path}: {unknown[0]}: is no field of a bundle; leave it out")
    silo, url, domain, authorities, token, expires = (found[name] for name in fields)
    if (fault := silo_fault(silo)) is not None:
        raise BundleError(f"{path}: silo: {fault}")
    if not url.startswith("https://"):
        raise BundleError(f"{path}: url: {url} is not an https:// address")
    try:
        x509.load_pem_x509_certificates(authorities.encode())
    except ValueError:
        raise BundleError(f"{path}: authorities: are no certificates; take the file as it was printed") from None
    return Bundle(silo, url.rstrip("/"), domain, authorities, token, expires)


def silo_fault(name: str) -> str | None:
    """Why that cannot be a silo's name."""
    if len(name) <= MAX_NAME and SILO_NAME.fullmatch(name):
        return None
    return f"{name!r} is not a silo's name; use at most {MAX_NAME} lower-case letters, digits and '-'"


def agent_id(trust_domain: str, silo: str) -> str:
    """The one name in a join certificate. No member's: those begin with ``/silo/``."""
    return f"spiffe://{trust_domain}/silo-agent/{silo}"


def hashed(token: str) -> str:
    """What is kept of a token of 128 random bits: it cannot be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


def request(key: ec.EllipticCurvePrivateKey, trust_domain: str, silo: str) -> str:
    """The signing request (PEM) of an agent's join key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "umbel agent")])
    name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(agent_id(trust_domain, silo))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(name, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def names_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """Every alternative name; of a kind that is none of ours, something that no name of ours equals."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(n.value) if isinstance(n, x509.UniformResourceIdentifier) else f"another name: {n!r}" for n in found]


def public_part(key: Any) -> str:
    """PEM of a public key: by this a silo is registered."""
    pem: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def issued_by_one_of(certificate: x509.Certificate, authorities: str) -> bool:
    for issuer in x509.load_pem_x509_certificates(authorities.encode()):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False
