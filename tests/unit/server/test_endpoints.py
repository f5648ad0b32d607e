"""Who may do what at the admin port, over real TLS, and what the plain port says."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from umbel.server import endpoints
from umbel.server.endpoints import Endpoint
from umbel.wire import pki
from umbel.wire.credentials import Credentials
from umbel.wire.pki import Authority

TRUST = "umbel.local"
OPERATOR, OBSERVER = pki.operator_id(TRUST), pki.observer_id(TRUST)
NAME = pki.server_name("trial", "oncology")
REFUSED = "no connection"


class Recorder:
    """A Control that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def status(self) -> dict[str, Any]:
        return {"phase": "Training"}

    def set_members(self, silos: frozenset[str]) -> None:
        self.calls.append(("members", silos))

    def set_queued(self, silos: frozenset[str]) -> None:
        self.calls.append(("queued", silos))

    def set_total(self, total: int) -> None:
        self.calls.append(("total", total))

    def set_cohort(self, updates: int, quorum: int) -> None:
        self.calls.append(("cohort", updates, quorum))

    def set_deadline(self, seconds: float) -> None:
        self.calls.append(("deadline", seconds))

    def set_output(self, uri: str) -> None:
        self.calls.append(("output", uri))

    def suspend(self) -> None:
        self.calls.append("suspend")

    def resume(self) -> None:
        self.calls.append("resume")

    def cancel(self, message: str) -> None:
        self.calls.append("cancel")


class Admin:
    """A running admin side, its authority, and callers of every kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = Recorder()
        self.authority = Authority.create(folder / "ca")
        self.files = self.authority.issue(folder / "server", pki.server_id(TRUST, "oncology", "trial"), [NAME])
        self.endpoint: Endpoint

    def caller(self, uri: str, authority: Authority | None = None, name: str = "caller") -> ssl.SSLContext:
        return self.context((authority or self.authority).issue(self.folder / name, uri))

    def context(self, files: Credentials | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.folder / "ca" / "ca.crt"))
        if files is not None:
            made.load_cert_chain(files.certificate, files.key)
        return made

    def named(self, *names: x509.GeneralName) -> ssl.SSLContext:
        """A caller whose certificate bears exactly these names."""
        files = self.authority.issue(self.folder / "named", OPERATOR)
        template = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(template.subject)
            .issuer_name(self.authority.certificate.subject)
            .public_key(template.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self.authority.key, hashes.SHA256())
        files.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return self.context(files)

    async def ask(self, context: ssl.SSLContext, method: str, path: str, **more: Any) -> tuple[int | str, str]:
        """(HTTP status, body), or `REFUSED` when there was no TLS connection to speak over."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.request(
                    method,
                    f"https://{self.endpoint.address}{path}",
                    ssl=context,
                    server_hostname=NAME,
                    **more,
                ) as response,
            ):
                return response.status, await response.text()
        except aiohttp.ClientError:
            return REFUSED, ""

    async def code(self, context: ssl.SSLContext, method: str, path: str, **more: Any) -> int | str:
        return (await self.ask(context, method, path, **more))[0]


@asynccontextmanager
async def serving(folder: Path, *, operator: str | None = OPERATOR, observer: str | None = OBSERVER) -> Any:
    admin = Admin(folder)
    admin.endpoint = await endpoints.serve_admin(
        "127.0.0.1:0", admin.files, admin.control, operator=operator, observer=observer
    )
    try:
        yield admin
    finally:
        await admin.endpoint.stop()


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Admin]:
    async with serving(tmp_path) as running:
        yield running


MEMBERS = {"json": ["a", "b"]}
REQUESTS = [
    ("GET", "/status", {}, 200, 200),
    ("HEAD", "/status", {}, 200, 403),
    ("PUT", "/members", MEMBERS, 204, 403),
    ("PUT", "/queued", MEMBERS, 204, 403),
    ("PUT", "/spec", {"json": {"total": 7}}, 204, 403),
    ("POST", "/suspend", {}, 204, 403),
    ("POST", "/resume", {}, 204, 403),
    ("POST", "/cancel", {}, 204, 403),
    ("DELETE", "/status", {}, 405, 403),
    ("GET", "/suspend", {}, 405, 403),
    ("GET", "/", {}, 404, 403),
    ("GET", "/metrics", {}, 404, 403),
]


# ---- identities


@pytest.mark.parametrize(("method", "path", "more", "operator", "observer"), REQUESTS)
async def test_the_operator_may_everything_the_observer_reads_others_nothing(
    admin: Admin, method: str, path: str, more: dict[str, Any], operator: int, observer: int
) -> None:
    assert await admin.code(admin.caller(OBSERVER), method, path, **more) == observer
    for stranger in (pki.silo_id(TRUST, "a"), pki.operator_id("other.domain"), OPERATOR + "/", OPERATOR.upper()):
        code, body = await admin.ask(admin.caller(stranger), method, path, **more)
        assert code == 403
        assert body == ("" if method == "HEAD" else "forbidden\n")
    assert admin.control.calls == []
    assert await admin.code(admin.caller(OPERATOR), method, path, **more) == operator


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_certificate_with_another_set_of_names_is_nobody(admin: Admin, method: str) -> None:
    uri, dns = x509.UniformResourceIdentifier, x509.DNSName
    path, more = ("/status", {}) if method == "GET" else ("/members", MEMBERS)
    for names in (
        [uri(OPERATOR), uri(OBSERVER)],
        [uri(OPERATOR), uri(OPERATOR)],
        [uri(OPERATOR), dns("operator.example")],
        [dns(OPERATOR)],
        [],
    ):
        assert await admin.code(admin.named(*names), method, path, **more) == 403
    assert await admin.code(admin.named(uri(OPERATOR)), method, path, **more) in (200, 204)


async def test_without_a_certificate_of_our_authority_there_is_no_connection(admin: Admin, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other-ca")
    assert await admin.code(admin.context(None), "GET", "/status") == REFUSED
    assert await admin.code(admin.caller(OPERATOR, other, "other"), "GET", "/status") == REFUSED
    assert await admin.code(admin.context(admin.files), "GET", "/status") == REFUSED, "a server is no client"
    assert await admin.code(admin.caller(OPERATOR), "GET", "/status") == 200


async def test_an_expired_certificate_is_refused(admin: Admin) -> None:
    expired = admin.context(admin.authority.issue(admin.folder / "late", OPERATOR, hours=-0.01))
    assert await admin.code(expired, "GET", "/status") == REFUSED


async def test_tls_1_2_is_refused(admin: Admin) -> None:
    context = admin.caller(OPERATOR)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await admin.code(context, "GET", "/status") == REFUSED


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_role_that_is_not_given_belongs_to_nobody(tmp_path: Path, method: str) -> None:
    async with serving(tmp_path, operator=None, observer=None) as admin:
        path, more = ("/status", {}) if method == "GET" else ("/members", MEMBERS)
        for uri in (OPERATOR, OBSERVER, "None"):
            assert await admin.code(admin.caller(uri), method, path, **more) == 403
        assert await admin.code(admin.named(), method, path, **more) == 403
        assert admin.control.calls == []


async def test_every_request_proves_its_identity_anew(admin: Admin) -> None:
    context = admin.caller(OPERATOR)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://{admin.endpoint.address}/status", ssl=context, server_hostname=NAME) as response,
    ):
        assert response.headers["Connection"] == "close"
        assert response.headers["Server"] == "umbel"


async def test_no_session_can_be_resumed_past_the_look_at_the_certificate(admin: Admin) -> None:
    host, port = admin.endpoint.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=admin.caller(OPERATOR), server_hostname=NAME)
    writer.write(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    assert writer.get_extra_info("ssl_object").session.has_ticket is False
    writer.close()
    await writer.wait_closed()


# ---- what the operator asks for


async def test_orders_reach_the_control(admin: Admin) -> None:
    caller = admin.caller(OPERATOR)
    assert await admin.ask(caller, "GET", "/status") == (200, '{"phase": "Training"}')
    await admin.ask(caller, "PUT", "/members", json=["b", "a", "b"])
    await admin.ask(caller, "PUT", "/queued", json=["b"])
    await admin.ask(caller, "PUT", "/spec", json={"total": 0, "activeDeadlineSeconds": 1})
    for path in ("/suspend", "/resume", "/cancel"):
        await admin.ask(caller, "POST", path)
    await admin.ask(caller, "PUT", "/members", json=[])
    await admin.ask(caller, "PUT", "/spec", json={})
    await admin.ask(caller, "PUT", "/spec", json={"updates": 4, "quorum": 3, "output": "s3://models/digits"})
    assert admin.control.calls == [
        ("members", frozenset({"a", "b"})),
        ("queued", frozenset({"b"})),
        ("total", 0),
        ("deadline", 1),
        "suspend",
        "resume",
        "cancel",
        ("members", frozenset()),
        ("cohort", 4, 3),
        ("output", "s3://models/digits"),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/members", b""),
        ("/members", b"\xff"),
        ("/members", b"[" * 100_000),
        ("/members", b'{"a": 1}'),
        ("/members", b'"hospital-a"'),
        ("/members", b'["a", 1]'),
        ("/members", b'[""]'),
        ("/members", b'["' + b"a" * 254 + b'"]'),
        ("/members", b"[" + b",".join(b'"%d"' % n for n in range(1001)) + b"]"),
        ("/queued", b'{"a": 1}'),
        ("/queued", b'["a", 1]'),
        ("/spec", b"[]"),
        ("/spec", b"{"),
        ("/spec", b'{"silos": []}'),
        ("/spec", b'{"total": 5, "quorum": 1}'),
        ("/spec", b'{"updates": 5}'),
        ("/spec", b'{"updates": 2, "quorum": 3}'),
        ("/spec", b'{"total": 5, "output": 7}'),
        ("/spec", b'{"total": 5, "output": null}'),
        ("/spec", b'{"total": -1}'),
        ("/spec", b'{"total": 100001}'),
        ("/spec", b'{"total": 5.0}'),
        ("/spec", b'{"total": true}'),
        ("/spec", b'{"total": "5"}'),
        ("/spec", b'{"total": null}'),
        ("/spec", b'{"total": 5, "activeDeadlineSeconds": 0}'),
        ("/spec", b'{"total": 5, "activeDeadlineSeconds": NaN}'),
    ],
)
async def test_what_is_not_an_order_changes_nothing(admin: Admin, path: str, body: bytes) -> None:
    code, text = await admin.ask(admin.caller(OPERATOR), "PUT", path, data=body)
    assert code == 400
    assert text.count("\n") == 1
    assert admin.control.calls == []


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(2 * endpoints.MAX_BODY_BYTES // 65536):
        yield b" " * 65536


async def test_a_body_is_bounded_also_when_its_length_is_not_said(admin: Admin) -> None:
    caller = admin.caller(OPERATOR)
    assert await admin.code(caller, "PUT", "/members", data=b" " * (endpoints.MAX_BODY_BYTES + 1)) == 413
    assert await admin.code(caller, "PUT", "/members", data=pieces()) == 413
    assert admin.control.calls == []


# ---- renewal


async def served_serial(admin: Admin, context: ssl.SSLContext) -> int:
    """Serial number of the certificate that a new connection is shown."""
    host, port = admin.endpoint.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=NAME)
    shown = writer.get_extra_info("ssl_object").getpeercert(True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(shown).serial_number


def issued_serial(admin: Admin) -> int:
    return x509.load_pem_x509_certificate(admin.files.certificate.read_bytes()).serial_number


async def test_a_renewed_certificate_is_shown_to_the_next_connection(admin: Admin) -> None:
    caller, first = admin.caller(OPERATOR), issued_serial(admin)
    assert await served_serial(admin, caller) == first
    admin.authority.issue(admin.folder / "server", pki.server_id(TRUST, "oncology", "trial"), [NAME])
    assert issued_serial(admin) != first
    assert await served_serial(admin, caller) == issued_serial(admin)
    assert await admin.code(caller, "GET", "/status") == 200


@pytest.mark.parametrize("file", ["tls.crt", "tls.key", "ca.crt"])
async def test_files_in_the_middle_of_a_renewal_leave_the_last_good_ones(admin: Admin, file: str) -> None:
    caller, first, path = admin.caller(OPERATOR), issued_serial(admin), admin.folder / "server" / file
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert await served_serial(admin, caller) == first
    path.unlink()
    assert await admin.code(caller, "GET", "/status") == 200
    path.write_bytes(whole)
    assert await admin.code(caller, "GET", "/status") == 200


async def test_an_authority_is_rotated_without_a_gap_and_the_old_one_loses_its_say(
    admin: Admin, tmp_path: Path
) -> None:
    trusted = admin.folder / "server" / "ca.crt"
    fresh = Authority.create(tmp_path / "new-ca")
    before, after = admin.caller(OPERATOR), admin.caller(OPERATOR, fresh, "after")
    trusted.write_bytes(fresh.bundle + admin.authority.bundle)
    assert [await admin.code(c, "GET", "/status") for c in (before, after)] == [200, 200]
    trusted.write_bytes(fresh.bundle)
    assert [await admin.code(c, "GET", "/status") for c in (before, after)] == [REFUSED, 200]


# ---- addresses


async def test_a_busy_port_and_what_is_no_address_are_errors(admin: Admin) -> None:
    with pytest.raises(OSError, match="in use"):
        await endpoints.serve_plain(admin.endpoint.address, bytes)
    for address in ("127.0.0.1", "127.0.0.1:", "127.0.0.1:http", ""):
        with pytest.raises(OSError, match="write host:port"):
            await endpoints.serve_plain(address, bytes)


# ---- the plain side


@pytest.fixture
async def plain() -> AsyncIterator[Endpoint]:
    endpoint = await endpoints.serve_plain("127.0.0.1:0", lambda: b"fl_job_round 3.0\n")
    yield endpoint
    await endpoint.stop()


@pytest.mark.parametrize(
    ("method", "path", "code", "body"),
    [
        ("GET", "/healthz", 200, "ok\n"),
        ("GET", "/metrics", 200, "fl_job_round 3.0\n"),
        ("GET", "/status", 404, "404: Not Found"),
        ("GET", "/", 404, "404: Not Found"),
        ("PUT", "/members", 404, "404: Not Found"),
        ("POST", "/metrics", 405, "405: Method Not Allowed"),
        ("DELETE", "/healthz", 405, "405: Method Not Allowed"),
    ],
)
async def test_the_plain_side_has_health_and_metrics_only(
    plain: Endpoint, method: str, path: str, code: int, body: str
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{plain.address}{path}") as response,
    ):
        assert (response.status, await response.text()) == (code, body)
        assert response.headers["Server"] == "umbel"


async def test_metrics_are_served_as_the_text_format(plain: Endpoint) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://{plain.address}/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("passes", range(5))
async def test_a_connection_of_the_moment_of_closing_ends_with_its_caller(tmp_path: Path, passes: int) -> None:
    """Whenever it comes: ``passes`` of the loop lie between its connecting and the server's end."""
    async with serving(tmp_path) as admin:
        host, _, port = admin.endpoint.address.rpartition(":")
        caller = socket.create_connection((host, int(port)))
        ours = lambda: [c for c in psutil.Process().net_connections("tcp4") if c.laddr.port == int(port)]  # noqa: E731
        for _ in range(passes):
            await asyncio.sleep(0)
    caller.close()
    async with asyncio.timeout(20):
        while ours():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
