"""What certificates say, who accepts whom, and what lies on disk."""

from __future__ import annotations

import ssl
import stat
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from umbel.wire import pki
from umbel.wire.credentials import Credentials


def certificate(credentials: Credentials) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credentials.certificate.read_bytes())


def names(credentials: Credentials) -> x509.SubjectAlternativeName:
    return certificate(credentials).extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def handshake(client: Credentials, server: Credentials, server_name: str) -> dict[str, object]:
    """A TLS handshake in memory; returns the client's certificate as the server sees it."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(server.certificate, server.key)
    server_context.load_verify_locations(server.authorities)
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.load_cert_chain(client.certificate, client.key)
    client_context.load_verify_locations(client.authorities)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client_context.wrap_bio(down, up, server_hostname=server_name),
        server_context.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return dict(ends[1].getpeercert() or {})


def test_a_silo_is_exactly_one_uri(tmp_path: Path) -> None:
    issued = pki.Authority.create(tmp_path / "ca").issue(tmp_path / "a", pki.silo_id("example.org", "hospital-a"))
    assert names(issued).get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://example.org/silo/hospital-a"]
    assert names(issued).get_values_for_type(x509.DNSName) == []


def test_a_server_has_its_uri_and_one_dns_name(tmp_path: Path) -> None:
    dns = pki.server_name("ct", "trials")
    issued = pki.Authority.create(tmp_path / "ca").issue(
        tmp_path / "s", pki.server_id("umbel.local", "trials", "ct"), [dns]
    )
    assert names(issued).get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://umbel.local/hub/server/trials/ct"
    ]
    assert names(issued).get_values_for_type(x509.DNSName) == ["ct.trials.umbel.internal"]


def test_operator_and_observer_are_different_identities() -> None:
    assert pki.operator_id("umbel.local") == "spiffe://umbel.local/hub/operator"
    assert pki.observer_id("umbel.local") != pki.operator_id("umbel.local")


def test_keys_are_p256_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    issued = pki.Authority.create(tmp_path / "ca").issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    public = certificate(issued).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, ec.SECP256R1)
    for key in (issued.key, tmp_path / "ca" / "ca.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_certificates_live_a_day_and_are_due_at_two_thirds(tmp_path: Path) -> None:
    issued = pki.Authority.create(tmp_path / "ca").issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    start = certificate(issued).not_valid_before_utc.timestamp()
    end = pki.expires_at(issued.certificate)
    assert end - start == pytest.approx(24 * 3600, abs=pki.CLOCK_SKEW.total_seconds())
    assert pki.renew_at(issued.certificate) == pytest.approx(start + (end - start) * 2 / 3)
    assert start < time.time() < pki.renew_at(issued.certificate) < end


def test_client_and_server_accept_each_other_and_the_name(tmp_path: Path) -> None:
    authority = pki.Authority.create(tmp_path / "ca")
    dns = pki.server_name("ct", "default")
    server = authority.issue(tmp_path / "s", pki.server_id("umbel.local", "default", "ct"), [dns])
    client = authority.issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    seen = handshake(client, server, dns)
    assert seen["subjectAltName"] == (("URI", "spiffe://umbel.local/silo/a"),)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(client, server, pki.server_name("other", "default"))


def test_a_silo_cannot_pose_as_the_server(tmp_path: Path) -> None:
    authority = pki.Authority.create(tmp_path / "ca")
    a = authority.issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    b = authority.issue(tmp_path / "b", pki.silo_id("umbel.local", "b"))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(a, b, pki.server_name("ct", "default"))


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    dns = pki.server_name("ct", "default")
    server = pki.Authority.create(tmp_path / "ca").issue(
        tmp_path / "s", pki.server_id("umbel.local", "default", "ct"), [dns]
    )
    stranger = pki.Authority.create(tmp_path / "other").issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(stranger, server, dns)


def test_a_rotated_authority_and_its_predecessor_are_both_trusted(tmp_path: Path) -> None:
    old = pki.Authority.create(tmp_path / "ca")
    dns = pki.server_name("ct", "default")
    client = old.issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    new = pki.Authority.create(tmp_path / "ca")
    server = new.issue(tmp_path / "s", pki.server_id("umbel.local", "default", "ct"), [dns])
    assert len(x509.load_pem_x509_certificates(server.authorities.read_bytes())) == 2
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, dns)  # it has the old bundle, the server a new certificate
    renewed = pki.Authority.load(tmp_path / "ca").issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    assert handshake(renewed, server, dns)


def test_the_server_side_of_a_rotation_still_accepts_old_certificates(tmp_path: Path) -> None:
    old = pki.Authority.create(tmp_path / "ca")
    dns = pki.server_name("ct", "default")
    client = old.issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    server = old.issue(tmp_path / "s", pki.server_id("umbel.local", "default", "ct"), [dns])
    pki.Authority.create(tmp_path / "ca")
    # The bundle goes round first; certificates follow.
    server.authorities.write_bytes((tmp_path / "ca" / "ca.crt").read_bytes())
    assert handshake(client, server, dns)


def test_a_renewal_keeps_the_key_and_replaces_the_certificate(tmp_path: Path) -> None:
    authority = pki.Authority.create(tmp_path / "ca")
    first = authority.issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    before, key = certificate(first), first.key.read_bytes()
    authority.issue(tmp_path / "a", pki.silo_id("umbel.local", "a"))
    assert first.key.read_bytes() == key
    assert certificate(first).serial_number != before.serial_number
    assert certificate(first).public_key() == before.public_key()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["ca.crt", "tls.crt", "tls.key"]


def test_a_loaded_authority_issues_what_the_made_one_did(tmp_path: Path) -> None:
    made = pki.Authority.create(tmp_path / "ca")
    assert pki.Authority.load(tmp_path / "ca").certificate == made.certificate


def test_a_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    pki.Authority.create(tmp_path / "ca")
    pki.Authority.create(tmp_path / "other")
    (tmp_path / "ca" / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(ValueError, match="none of the authorities"):
        pki.Authority.load(tmp_path / "ca")
