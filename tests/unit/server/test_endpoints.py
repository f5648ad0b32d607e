"""Who may do what on the admin side, over real TLS; and what the plain side tells anybody."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from umbel.server import endpoints
from umbel.server.endpoints import MAX_BODY_BYTES, MAX_MEMBERS, Endpoint
from umbel.wire import pki
from umbel.wire.transport import Credentials

DOMAIN = "umbel.local"
OPERATOR, OBSERVER, SILO = pki.operator_id(DOMAIN), pki.observer_id(DOMAIN), pki.silo_id(DOMAIN, "hospital-a")
NAME = pki.server_name("trial", "oncology")
READ = ("GET", "/status", None)
CHANGES: list[tuple[str, str, Any]] = [
    ("PUT", "/members", ["hospital-a"]),
    ("PUT", "/spec", {"total": 7, "activeDeadlineSeconds": 60}),
    ("POST", "/suspend", None),
    ("POST", "/resume", None),
    ("POST", "/cancel", None),
]


@dataclass
class Desk:
    """A `Control` that writes down what was asked of it."""

    asked: list[Any] = field(default_factory=list)

    def status(self) -> dict[str, Any]:
        return {"phase": "Training"}

    def set_members(self, silos: frozenset[str]) -> None:
        self.asked.append(silos)

    def set_total(self, total: int) -> None:
        self.asked.append(("total", total))

    def set_deadline(self, seconds: float) -> None:
        self.asked.append(("deadline", seconds))

    def suspend(self) -> None:
        self.asked.append("suspend")

    def resume(self) -> None:
        self.asked.append("resume")

    def cancel(self, message: str) -> None:
        self.asked.append("cancel")


@dataclass
class Hub:
    """An admin endpoint, who issues its certificates, and the desk behind it."""

    folder: Path
    authority: pki.Authority
    server: Credentials
    desk: Desk
    endpoint: Endpoint

    def identity(self, uri: str, authority: pki.Authority | None = None, dns: tuple[str, ...] = ()) -> Credentials:
        folder = self.folder / f"identity-{len(list(self.folder.iterdir()))}"
        return (authority or self.authority).issue(folder, uri, dns)

    async def ask(self, who: Credentials | None, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """(status, body). Raises aiohttp.ClientError when there is no connection."""
        return await self.send(trusting(self.server.authorities, who), method, path, json.dumps(body).encode())

    async def send(self, context: ssl.SSLContext, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        url = f"https://{self.endpoint.address}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=body, ssl=context, server_hostname=NAME) as response,
        ):
            return response.status, await response.read()


def trusting(authorities: Path, who: Credentials | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authorities))
    if who is not None:
        context.load_cert_chain(who.certificate, who.key)
    return context


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    authority = pki.Authority.create(tmp_path / "ca")
    server = authority.issue(tmp_path / "server", pki.server_id(DOMAIN, "oncology", "trial"), [NAME])
    desk = Desk()
    endpoint = await endpoints.serve_admin("127.0.0.1:0", server, desk, operator=OPERATOR, observer=OBSERVER)
    yield Hub(tmp_path, authority, server, desk, endpoint)
    await endpoint.stop()


# ---- who


async def test_the_operator_may_do_everything(hub: Hub) -> None:
    operator = hub.identity(OPERATOR)
    assert await hub.ask(operator, *READ) == (200, b'{"phase": "Training"}')
    for change in CHANGES:
        assert await hub.ask(operator, *change) == (204, b""), change
    assert hub.desk.asked == [
        frozenset({"hospital-a"}),
        ("total", 7),
        ("deadline", 60),
        "suspend",
        "resume",
        "cancel",
    ]


async def test_the_observer_may_read_and_change_nothing(hub: Hub) -> None:
    observer = hub.identity(OBSERVER)
    assert (await hub.ask(observer, *READ))[0] == 200
    for change in CHANGES:
        assert await hub.ask(observer, *change) == (403, b"forbidden\n"), change
    assert hub.desk.asked == []


@pytest.mark.parametrize(
    "uri",
    [
        SILO,
        pki.server_id(DOMAIN, "oncology", "trial"),
        pki.operator_id("elsewhere.local"),
        f"{OPERATOR}/",
        f"{OPERATOR}x",
        OPERATOR.upper(),
        f"{OPERATOR}?a",
    ],
)
async def test_every_other_identity_is_told_nothing(hub: Hub, uri: str) -> None:
    somebody = hub.identity(uri)
    for what in (READ, *CHANGES, ("GET", "/", None), ("GET", "/nothing/here", None)):
        assert await hub.ask(somebody, *what) == (403, b"forbidden\n"), what
    assert hub.desk.asked == []


async def test_two_names_are_nobody(hub: Hub) -> None:
    """Clients' certificates carry one URI; OpenSSL itself would take more."""
    folder = hub.folder / "two"
    two = with_names(hub.authority, folder, [OPERATOR, OBSERVER])
    assert (await hub.ask(two, *READ))[0] == 403


async def test_a_uri_beside_a_host_name_is_nobody(hub: Hub) -> None:
    mixed = with_names(hub.authority, hub.folder / "mixed", [OPERATOR], ["hub.example.org"])
    assert (await hub.ask(mixed, *READ))[0] == 403


async def test_a_certificate_of_another_authority_gets_no_connection(hub: Hub) -> None:
    other = pki.Authority.create(hub.folder / "other-ca")
    stranger = hub.identity(OPERATOR, other)
    with pytest.raises(aiohttp.ClientError):
        await hub.ask(stranger, *READ)


async def test_without_a_certificate_there_is_no_connection(hub: Hub) -> None:
    with pytest.raises(aiohttp.ClientError):
        await hub.ask(None, *READ)


async def test_a_server_certificate_is_no_clients(hub: Hub) -> None:
    """Its purpose is to be dialled, whatever name it bears."""
    with pytest.raises(aiohttp.ClientError):
        await hub.ask(hub.identity(OPERATOR, dns=(NAME,)), *READ)


async def test_tls_1_2_is_not_spoken(hub: Hub) -> None:
    context = trusting(hub.server.authorities, hub.identity(OPERATOR))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(aiohttp.ClientError):
        await hub.send(context, "GET", "/status")


async def test_plain_text_is_not_spoken(hub: Hub) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://{hub.endpoint.address}/status")


async def test_without_an_operator_nobody_is_one(tmp_path: Path) -> None:
    authority = pki.Authority.create(tmp_path / "ca")
    server = authority.issue(tmp_path / "server", pki.server_id(DOMAIN, "oncology", "trial"), [NAME])
    endpoint = await endpoints.serve_admin("127.0.0.1:0", server, Desk(), operator=None, observer=None)
    hub = Hub(tmp_path, authority, server, Desk(), endpoint)
    for uri in (OPERATOR, OBSERVER, "None", SILO):
        assert (await hub.ask(hub.identity(uri), *READ))[0] == 403
    await endpoint.stop()


async def test_refusals_leave_no_name_or_address_in_a_log(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    other = pki.Authority.create(hub.folder / "other-ca")
    with caplog.at_level(logging.INFO):
        assert (await hub.ask(hub.identity(SILO), *READ))[0] == 403
        for who in (None, hub.identity(OPERATOR, other)):
            with pytest.raises(aiohttp.ClientError):
                await hub.ask(who, *READ)
    assert "hospital-a" not in caplog.text
    assert "127.0.0.1" not in caplog.text


# ---- what


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/members", b"{"),
        ("/members", b"[" * 100_000),
        ("/members", b"\xff"),
        ("/members", b'{"a": 1}'),
        ("/members", b'"hospital-a"'),
        ("/members", b"[1]"),
        ("/members", b'[""]'),
        ("/members", json.dumps(["x" * 254]).encode()),
        ("/members", json.dumps([f"silo-{n}" for n in range(MAX_MEMBERS + 1)]).encode()),
        ("/spec", b"[]"),
        ("/spec", b'{"quorum": 1}'),
        ("/spec", b'{"total": -1}'),
        ("/spec", b'{"total": 1.5}'),
        ("/spec", b'{"total": true}'),
        ("/spec", b'{"total": null}'),
        ("/spec", b'{"total": 100001}'),
        ("/spec", b'{"activeDeadlineSeconds": 0}'),
        ("/spec", b'{"total": 3, "activeDeadlineSeconds": "60"}'),
    ],
)
async def test_a_body_that_makes_no_sense_changes_nothing(hub: Hub, path: str, body: bytes) -> None:
    context = trusting(hub.server.authorities, hub.identity(OPERATOR))
    status, text = await hub.send(context, "PUT", path, body)
    assert status == 400
    assert text.count(b"\n") == 1, "one line that says what would be right"
    assert hub.desk.asked == []


async def test_a_body_beyond_the_limit_is_refused(hub: Hub) -> None:
    context = trusting(hub.server.authorities, hub.identity(OPERATOR))
    status, _ = await hub.send(context, "PUT", "/members", b" " * (MAX_BODY_BYTES + 1))
    assert status == 413
    assert hub.desk.asked == []


async def test_the_longest_list_of_members_fits(hub: Hub) -> None:
    names = [f"{n:04d}-{'x' * 200}" for n in range(MAX_MEMBERS)]
    assert (await hub.ask(hub.identity(OPERATOR), "PUT", "/members", names))[0] == 204
    assert hub.desk.asked == [frozenset(names)]


async def test_nobody_is_a_member_when_the_list_is_empty(hub: Hub) -> None:
    assert (await hub.ask(hub.identity(OPERATOR), "PUT", "/members", []))[0] == 204
    assert hub.desk.asked == [frozenset()]


# ---- certificates change while the server runs


async def served(hub: Hub, who: Credentials) -> bytes | None:
    """The certificate that the next handshake shows."""
    host, _, port = hub.endpoint.address.rpartition(":")
    context = trusting(hub.server.authorities, who)
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=NAME)
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    shown = found.getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return shown


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(hub: Hub) -> None:
    operator = hub.identity(OPERATOR)
    before = await served(hub, operator)
    hub.authority.issue(hub.folder / "server", pki.server_id(DOMAIN, "oncology", "trial"), [NAME])
    after = await served(hub, operator)
    assert after != before
    assert ssl.PEM_cert_to_DER_cert(hub.server.certificate.read_text()) == after


async def test_a_new_authority_is_trusted_once_it_is_in_the_bundle_and_an_old_one_not_once_it_is_out(hub: Hub) -> None:
    old = hub.identity(OPERATOR)
    newer = pki.Authority.create(hub.folder / "ca")  # the bundle holds both
    new = hub.identity(OPERATOR, newer)
    context = trusting(hub.server.authorities, new)
    with pytest.raises(aiohttp.ClientError):
        await hub.send(context, "GET", "/status")
    hub.server.authorities.write_bytes(newer.bundle)
    for who in (old, new):
        assert (await hub.ask(who, *READ))[0] == 200
    only_new = newer.bundle.split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
    both = hub.folder / "both.crt"
    both.write_bytes(newer.bundle)
    hub.server.authorities.write_bytes(only_new)
    with pytest.raises(aiohttp.ClientError):
        await hub.send(trusting(both, old), "GET", "/status")
    assert (await hub.send(trusting(both, new), "GET", "/status"))[0] == 200


@pytest.mark.parametrize("damage", [b"", b"not a certificate"])
async def test_a_renewal_that_is_half_done_leaves_the_old_certificate(hub: Hub, damage: bytes) -> None:
    operator = hub.identity(OPERATOR)
    authorities = hub.folder / "authorities"
    authorities.write_bytes(hub.authority.bundle)
    whole = hub.server.certificate.read_bytes()
    hub.server.certificate.write_bytes(damage)
    context = trusting(authorities, operator)
    assert (await hub.send(context, "GET", "/status"))[0] == 200
    hub.server.certificate.write_bytes(whole)
    assert (await hub.send(context, "GET", "/status"))[0] == 200


# ---- the plain side


@pytest.fixture
async def plain() -> AsyncIterator[str]:
    endpoint = await endpoints.serve_plain("127.0.0.1:0", lambda: b"fl_job_round 3.0\n")
    yield f"http://{endpoint.address}"
    await endpoint.stop()


async def test_health_and_metrics_are_for_everybody(plain: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{plain}/healthz") as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        async with session.get(f"{plain}/metrics") as response:
            assert (response.status, await response.read()) == (200, b"fl_job_round 3.0\n")
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("path", ["/status", "/members", "/spec", "/"])
async def test_nothing_else_is_on_the_plain_side(plain: str, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(plain + path) as response:
        assert response.status == 404


async def test_no_version_is_told(plain: str, hub: Hub) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{plain}/healthz") as response:
        assert response.headers["Server"] == "umbel"


# ---- addresses


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:https", ""])
async def test_an_address_without_a_port_is_said(address: str) -> None:
    with pytest.raises(OSError, match="write host:port"):
        await endpoints.serve_plain(address, bytes)


async def test_a_port_that_is_taken_is_said(plain: str) -> None:
    address = plain.removeprefix("http://")
    with pytest.raises(OSError, match="in use") as raised:
        await endpoints.serve_plain(address, bytes)
    assert address.rpartition(":")[2] in str(raised.value)


async def test_port_0_is_any_and_the_address_says_which() -> None:
    made = [await endpoints.serve_plain("127.0.0.1:0", bytes) for _ in range(2)]
    ports = {int(endpoint.address.rpartition(":")[2]) for endpoint in made}
    assert len(ports) == 2
    assert 0 not in ports
    for endpoint in made:
        await endpoint.stop()


# ---- certificates that `umbel.wire.pki` would not issue


def with_names(authority: pki.Authority, folder: Path, uris: list[str], dns: list[str] | None = None) -> Credentials:
    """A client's certificate with any set of names."""
    issued = authority.issue(folder, uris[0])
    template = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    names: list[x509.GeneralName] = [
        *map(x509.UniformResourceIdentifier, uris),
        *map(x509.DNSName, dns or []),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(template.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    issued.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    return issued
