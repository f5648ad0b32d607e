"""Who may speak at all: one URI of this trust domain, by this CA, over TLS 1.3."""

from __future__ import annotations

import asyncio
import ipaddress
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509

from umbel.wire import grpc_connection, pki
from umbel.wire import umbel_pb2 as pb
from umbel.wire.credentials import Credentials
from umbel.wire.transport import TransportError

from .cohort import MALLORY, SILOS, Cohort
from .deployment import SERVER_NAME, UID, Deployment, certify
from .speaking import Member, answered, dial, upload_frames

import grpc  # isort: skip  (after speaking: the environment comes first)

pytestmark = pytest.mark.process

SILO = pki.silo_id("umbel.local", MALLORY)
NAMES: dict[str, list[x509.GeneralName]] = {
    "two silos": [x509.UniformResourceIdentifier(SILO), x509.UniformResourceIdentifier(SILO[:-1] + "3")],
    "the same silo twice": [x509.UniformResourceIdentifier(SILO)] * 2,
    "a silo and a DNS name": [x509.UniformResourceIdentifier(SILO), x509.DNSName("silo-4.example.org")],
    "a silo and a name of another sort": [
        x509.UniformResourceIdentifier(SILO),
        x509.RegisteredID(x509.ObjectIdentifier("1.3.6.1.4.1.1")),
    ],
    "only a DNS name": [x509.DNSName("silo-4.example.org")],
    "a DNS name that reads like a silo": [x509.DNSName(SILO)],
    "an address that reads like a silo": [x509.RFC822Name(SILO)],
    "an IP address": [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
    "no name but the subject": [],
    "another trust domain": [x509.UniformResourceIdentifier(pki.silo_id("other.example", MALLORY))],
    "the operator": [x509.UniformResourceIdentifier(pki.operator_id("umbel.local"))],
    "a path below a silo": [x509.UniformResourceIdentifier(SILO + "/x")],
    "a silo without a name": [x509.UniformResourceIdentifier(pki.silo_id("umbel.local", ""))],
    "https": [x509.UniformResourceIdentifier(SILO.replace("spiffe", "https"))],
}
UNIDENTIFIED = "fl_join_requests_total{outcome=unidentified}"
REFUSED = "fl_join_requests_total{outcome=refused}"


def calls(member: Member, cohort: Cohort) -> dict[str, Callable[[], Awaitable[object]]]:
    """One call of each sort, correct but for who makes it."""
    member.up, member.down = cohort.mallory.up, cohort.mallory.down

    async def session() -> None:
        member.open()
        await member.hello()
        await member.expect("welcome")

    sent = upload_frames(member.header(cohort.task), cohort.update(MALLORY).tobytes())
    return {
        "Session": session,
        "GetModel": lambda: member.model(cohort.task.model_version),
        "PutUpdate": lambda: member.put(sent),
        "PutEvaluation": lambda: member.evaluate(cohort.task, 5, {}),
    }


async def refusal(call: Callable[[], Awaitable[object]]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answered(call)
    code = caught.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


@pytest.mark.parametrize("names", NAMES)
async def test_a_certificate_has_to_name_one_silo_and_nothing_else(cohort: Cohort, tmp_path: Path, names: str) -> None:
    credentials = certify(cohort.server.authority, tmp_path, NAMES[names])
    async with Member("nobody", dial(cohort.server.address, credentials)) as nobody:
        attempts = calls(nobody, cohort)
        for method, call in attempts.items():
            assert await refusal(call) is grpc.StatusCode.UNAUTHENTICATED, method
    moved = await cohort.settle(SILOS)
    assert moved[UNIDENTIFIED] >= len(attempts)


async def test_a_silo_that_is_no_member_is_let_at_nothing(cohort: Cohort) -> None:
    server = cohort.server
    async with Member("stranger", dial(server.address, server.credentials("stranger"))) as stranger:
        stranger.open()
        await stranger.hello()
        refused = await stranger.expect("refused")
        assert (refused.reason, refused.permanent) == (pb.NOT_A_MEMBER, True)
        assert await stranger.hear() is None
        attempts = calls(stranger, cohort)
        del attempts["Session"]
        for method, call in attempts.items():
            assert await refusal(call) is grpc.StatusCode.PERMISSION_DENIED, method
    moved = await cohort.settle(SILOS)
    assert moved[REFUSED] == 1
    for method in attempts:
        assert moved[f"fl_grpc_requests_total{{code=PERMISSION_DENIED,method={method}}}"] >= 1


def of_another_authority(server: Deployment, folder: Path) -> Credentials:
    """A silo of the right name, signed by a CA of its own; it trusts the server's."""
    credentials = pki.Authority.create(folder / "ca").issue(folder / "tls", SILO)
    credentials.authorities.write_bytes((server.folder / "ca" / "ca.crt").read_bytes())
    return credentials


async def test_a_certificate_of_another_authority_ends_in_the_handshake(cohort: Cohort, tmp_path: Path) -> None:
    credentials = of_another_authority(cohort.server, tmp_path)
    async with Member("nobody", dial(cohort.server.address, credentials)) as nobody:
        for method, call in calls(nobody, cohort).items():
            assert await refusal(call) is grpc.StatusCode.UNAVAILABLE, method
    connection = grpc_connection.GrpcConnection(cohort.server.url, credentials, SERVER_NAME)
    with pytest.raises(TransportError) as caught:
        await connection.get_model(pb.GetModelRequest(job_uid=UID), cohort.mallory.down.empty())
    assert caught.value.retry
    await connection.close()
    await cohort.settle(SILOS)


async def test_a_client_does_not_speak_to_a_server_of_another_authority(server: Deployment, tmp_path: Path) -> None:
    authority = pki.Authority.create(tmp_path / "ca")
    connection = grpc_connection.GrpcConnection(server.url, authority.issue(tmp_path / "tls", SILO), SERVER_NAME)
    with pytest.raises(TransportError, match="UNAVAILABLE"):
        await connection.put_evaluation(pb.Evaluation(job_uid=UID))
    await connection.close()


async def test_a_client_does_not_speak_to_the_server_of_another_job(server: Deployment) -> None:
    name = pki.server_name("other", "default")
    connection = grpc_connection.GrpcConnection(server.url, server.credentials(MALLORY), name)
    with pytest.raises(TransportError, match="UNAVAILABLE"):
        await connection.put_evaluation(pb.Evaluation(job_uid=UID))
    await connection.close()


def openssl(server: Deployment, *arguments: str, identity: Credentials | None = None) -> tuple[int, str]:
    """Exit status and what `openssl s_client` said of its attempt at a handshake."""
    files = ["-cert", str(identity.certificate), "-key", str(identity.key)] if identity else []
    trust = ["-CAfile", str(server.folder / "ca" / "ca.crt"), "-verify_return_error", "-servername", SERVER_NAME]
    command = ["openssl", "s_client", "-connect", server.address, "-alpn", "h2", *trust, *files, *arguments]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_1"])
async def test_nothing_before_tls_1_3(server: Deployment, version: str) -> None:
    weak = [version, "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    status, said = await asyncio.to_thread(openssl, server, *weak, identity=server.credentials(MALLORY))
    assert status != 0
    assert "Cipher is (NONE)" in said, said
    assert "unexpected eof" in said or "alert" in said, said


async def test_tls_1_3_with_a_certificate(server: Deployment) -> None:
    status, said = await asyncio.to_thread(openssl, server, "-tls1_3", identity=server.credentials(MALLORY))
    assert status == 0, said
    assert "TLSv1.3, Cipher is TLS_" in said
    assert "Verification: OK" in said
    assert "ALPN protocol: h2" in said


async def test_without_a_certificate_the_server_hangs_up(server: Deployment) -> None:
    """In TLS 1.3 a client without a certificate learns of it after its own part of the handshake."""
    status, said = await asyncio.to_thread(openssl, server, "-tls1_3", "-ign_eof")
    assert status != 0
    assert "unexpected eof" in said or "certificate required" in said, said
    with pytest.raises(TransportError, match="UNAVAILABLE"):
        await anonymous(server)


async def anonymous(server: Deployment) -> None:
    """A call over TLS by somebody who trusts the server's authority and has no certificate."""
    secrets = grpc.ssl_channel_credentials((server.folder / "ca" / "ca.crt").read_bytes())
    names = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(server.address, secrets, options=names) as channel:
        try:
            await channel.unary_unary("/umbel.v1.Federation/PutEvaluation")(b"", timeout=30)
        except grpc.aio.AioRpcError as error:
            raise grpc_connection.translate(error) from None
