"""The federation's certificate authority: whom it certifies, as what, and how often."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from umbel.wire import pki
from umbel_operator.hub.authority import CA_SECRET, Authority, load_or_create
from umbel_operator.hub.observed import Tls
from umbel_operator.hub.settings import Settings
from umbel_operator.kube import ApiError

SETTINGS = Settings()
MADE = pki.Authority.generate()
HOUR = 3600.0


@pytest.fixture
def authority() -> Authority:
    return Authority(MADE, SETTINGS)


def csr(*names: x509.GeneralName, key: Any = None) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hospital-z")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def client(request: str | None, certificate: str | None = None, silo: str = "hospital-a") -> dict[str, Any]:
    spec = {"silo": silo, **({"certificate": certificate} if certificate else {})}
    return {"spec": spec, "status": {"certificateRequest": request} if request else {}}


def signed(authority: Authority, request: str, now: float | None = None, **more: Any) -> str:
    found, faults = authority.certificates({"c": client(request, **more)}, now or time.time())
    assert not faults
    return found["c"]


def alternative_names(pem: str) -> list[Any]:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


@pytest.mark.parametrize(
    "asked",
    [
        [],
        [x509.UniformResourceIdentifier("spiffe://umbel.local/silo/hospital-b")],
        [x509.UniformResourceIdentifier("spiffe://umbel.local/hub/operator")],
        [x509.DNSName("digits.default.umbel.internal")],
    ],
)
def test_a_silo_is_certified_as_itself_whatever_it_asks_for(authority: Authority, asked: list[Any]) -> None:
    pem = signed(authority, csr(*asked))
    assert alternative_names(pem) == [x509.UniformResourceIdentifier("spiffe://umbel.local/silo/hospital-a")]
    certificate = x509.load_pem_x509_certificate(pem.encode())
    certificate.verify_directly_issued_by(MADE.certificate)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "hospital-z" not in certificate.subject.rfc4514_string()


def rsa_request() -> str:
    return csr(key=rsa.generate_private_key(65537, 2048))


def other_curve() -> str:
    return csr(key=ec.generate_private_key(ec.SECP384R1()))


def of_another_key() -> str:
    """A request whose signature was not made by the key in it."""
    der = bytearray(x509.load_pem_x509_csr(csr().encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return "-----BEGIN CERTIFICATE REQUEST-----\n" + b64encode(der).decode() + "\n-----END CERTIFICATE REQUEST-----\n"


@pytest.mark.parametrize("make", [lambda: "garbage", lambda: "\x00", rsa_request, other_curve, of_another_key])
def test_what_it_cannot_vouch_for_it_refuses(authority: Authority, make: Any) -> None:
    good = client(csr())
    found, faults = authority.certificates({"bad": client(make()), "good": good}, time.time())
    assert set(found) == {"good"}
    assert set(faults) == {"bad"}


def test_nobody_is_certified_unasked(authority: Authority) -> None:
    assert authority.certificates({"c": client(None)}, time.time()) == ({}, {})


def test_it_signs_once_until_two_thirds_of_the_life(authority: Authority) -> None:
    request, now = csr(), time.time()
    first = signed(authority, request, now)
    assert signed(authority, request, now + 15.9 * HOUR, certificate=first) == first
    assert signed(authority, request, now + 16.1 * HOUR, certificate=first) != first


def test_another_key_or_another_authority_is_signed_anew(authority: Authority) -> None:
    first = signed(authority, csr())
    request = csr()
    second = signed(authority, request, certificate=first)
    assert second != first
    foreign = pki.Authority.generate().sign_request(request.encode(), "spiffe://umbel.local/silo/hospital-a").decode()
    anew = signed(authority, request, certificate=foreign)
    x509.load_pem_x509_certificate(anew.encode()).verify_directly_issued_by(MADE.certificate)


# ---- the servers


def secret(tls: Tls) -> dict[str, Any]:
    data = {"tls.crt": tls.certificate, "tls.key": tls.key, "ca.crt": tls.bundle}
    return {"data": {name: b64encode(text.encode()).decode() for name, text in data.items()}}


def test_a_server_is_certified_as_its_job(authority: Authority) -> None:
    tls = authority.tls("default", "digits", None, time.time())
    assert set(alternative_names(tls.certificate)) == {
        x509.UniformResourceIdentifier(pki.server_id("umbel.local", "default", "digits")),
        x509.DNSName("digits.default.umbel.internal"),
    }
    assert tls.bundle == MADE.bundle.decode()


def test_a_server_keeps_its_certificate_then_its_key(authority: Authority) -> None:
    now = time.time()
    first = authority.tls("default", "digits", None, now)
    assert authority.tls("default", "digits", secret(first), now + 15 * HOUR) == first
    second = authority.tls("default", "digits", secret(first), now + 17 * HOUR)
    assert second.certificate != first.certificate
    assert second.key == first.key


@pytest.mark.parametrize("data", [{}, {"tls.crt": ""}, {"tls.crt": b64encode(b"x").decode()}])
def test_a_secret_that_was_spoilt_is_made_good(authority: Authority, data: dict[str, str]) -> None:
    assert "BEGIN CERTIFICATE" in authority.tls("default", "digits", {"data": data}, time.time()).certificate


def test_a_new_authority_certifies_servers_anew_with_their_own_keys(authority: Authority) -> None:
    first = authority.tls("default", "digits", None, time.time())
    rotated = Authority(pki.Authority.generate(MADE.bundle), SETTINGS)
    second = rotated.tls("default", "digits", secret(first), time.time())
    assert second.key == first.key
    assert second.bundle.count("BEGIN CERTIFICATE") == 2


def test_the_operators_own_context_is_kept_until_it_is_due(authority: Authority) -> None:
    now = time.time()
    context = authority.context(now)
    assert authority.context(now + 15 * HOUR) is context
    assert authority.context(now + 17 * HOUR) is not context


# ---- its key


class Api:
    """One Secret, and another operator that may be quicker."""

    def __init__(self, *, late: bool = False) -> None:
        self.secret: dict[str, Any] | None = None
        self.late = late

    async def get(self, *_: object) -> dict[str, Any] | None:
        return self.secret

    async def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        if self.late:
            made = pki.Authority.generate()
            data = {"ca.crt": made.bundle, "ca.key": made.key_pem}
            self.secret = {"data": {name: b64encode(pem).decode() for name, pem in data.items()}}
            raise ApiError(409, "AlreadyExists", "there is one")
        self.secret = obj
        return obj


async def test_its_key_is_made_once_and_found_again() -> None:
    api = Api()
    first = await load_or_create(api, SETTINGS)  # type: ignore[arg-type]
    assert api.secret is not None
    assert api.secret["metadata"]["name"] == CA_SECRET
    assert api.secret["metadata"]["namespace"] == "umbel-system"
    second = await load_or_create(api, SETTINGS)  # type: ignore[arg-type]
    assert first.bundle == second.bundle


async def test_of_two_operators_the_second_finds_the_firsts() -> None:
    api = Api(late=True)
    found = await load_or_create(api, SETTINGS)  # type: ignore[arg-type]
    assert api.secret is not None
    assert b64encode(found.bundle.encode()).decode() == api.secret["data"]["ca.crt"]
