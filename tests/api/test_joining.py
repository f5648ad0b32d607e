"""A silo joins by a bundle, keeps its access by its key, and loses it when it is removed: over a real API server."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import time
import urllib.request
from base64 import b64decode
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from umbel_cluster.api import Api
from umbel_cluster.processes import free_port
from umbel_cluster.tools import ClusterError

from umbel.wire import pki
from umbel_operator import joining
from umbel_operator.agent import join_client
from umbel_operator.agent.join import JoinError, Membership, Removed
from umbel_operator.conditions import timestamp
from umbel_operator.hub.join import decisions

from .clocks import Clock
from .hub import until
from .joining import Agent, Hub, fresh, joined, renewed, running

pytestmark = pytest.mark.api
HOUR = 3600.0


def counted(hub: Hub, outcome: str) -> float:
    with urllib.request.urlopen(f"{hub.http}/metrics", timeout=60) as answer:
        return hub.outcomes(answer.read().decode()).get(outcome, 0.0)


# ---- joining


def test_a_silo_joins_in_one_step(hub: Hub, silo: str, agent: Agent) -> None:
    before = counted(hub, "Joined")
    bundle = hub.invite(silo)
    assert bundle.stat().st_mode & 0o077 == 0
    until(lambda: hub.condition(silo, "Ready").get("reason") == "Invited", "it is shown as invited")
    assert "has joined the hub" in agent.join(bundle)
    assert hub.condition(silo, "Joined")["status"] == "True"
    assert counted(hub, "Joined") == before + 1
    assert (agent.state / "membership.json").stat().st_mode & 0o077 == 0
    key, http = agent.membership["key"], f"127.0.0.1:{free_port()}"
    with running(agent, "--http", http):
        until(lambda: hub.condition(silo, "Ready").get("status") == "True", "alive", told=agent.log)
        with urllib.request.urlopen(f"http://{http}/metrics", timeout=60) as answer:
            found = subprocess.run(["promtool", "check", "metrics"], input=answer.read(), capture_output=True)
        assert (found.returncode, found.stdout + found.stderr) == (0, b"")
        row = next(line for line in hub.umbel("silo", "list").splitlines() if line.startswith(silo))
        assert row.split()[1] == "Ready"
        assert "process" in row
        assert "digits" in row
    assert agent.membership["key"] == key


def test_what_the_hub_keeps_of_a_token_is_its_hash(hub: Hub, silo: str) -> None:
    token = joining.read_bundle(hub.invite(silo)).token
    everything = hub.api.kubectl("get", "silo,secret,cm", "-A", "-o", "yaml")
    assert token not in everything
    assert len(token) >= 22  # 128 bits


def test_the_join_certificate_is_for_that_silo_and_for_no_job(hub: Hub, silo: str) -> None:
    membership = joined(hub.invite(silo))
    certificate = x509.load_pem_x509_certificate(membership.certificate.encode())
    names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    assert names == [x509.UniformResourceIdentifier(f"spiffe://umbel.local/silo-agent/{silo}")]
    assert names != [x509.UniformResourceIdentifier(pki.silo_id("umbel.local", silo))]
    assert certificate.not_valid_after_utc.timestamp() - time.time() < 24.1 * HOUR


def test_a_wrong_token_is_refused_and_uses_up_nothing(hub: Hub, silo: str) -> None:
    bundle, before = hub.invite(silo), counted(hub, joining.TOKEN_NOT_VALID)
    with pytest.raises(JoinError, match=r"TokenNotValid.*umbel silo invite"):
        joined(bundle, token="0" * 22)
    assert counted(hub, joining.TOKEN_NOT_VALID) == before + 1
    assert joined(bundle).joined


def test_a_token_is_for_one_silo(hub: Hub, silo: str) -> None:
    other = hub.invite(f"{silo}-b")
    try:
        hub.invite(silo)
        with pytest.raises(JoinError, match="TokenNotValid"):
            joined(other, silo=silo)
        with pytest.raises(JoinError, match="TokenNotValid"):
            joined(other, silo="nobody-invited-this")
    finally:
        hub.umbel("silo", "remove", f"{silo}-b")


def test_a_used_token_is_refused_and_told(hub: Hub, silo: str, agent: Agent) -> None:
    bundle, before = hub.invite(silo), counted(hub, joining.TOKEN_USED)
    first = joined(bundle)
    assert "TokenUsed: this invitation was used already" in agent.join(bundle, fails=True)
    assert counted(hub, joining.TOKEN_USED) == before + 1
    assert hub.condition(silo, "TokenReused")["status"] == "True"
    events = json.loads(hub.api.kubectl("get", "events", "-o", "json"))["items"]
    told = [e for e in events if e["involvedObject"]["name"] == silo and e["reason"] == "UsedTokenPresented"]
    assert told[0]["type"] == "Warning"
    assert renewed(first).joined, "who was first goes on"
    assert "used again" in hub.umbel("hub", "status")
    joined(hub.invite(silo))
    assert hub.condition(silo, "TokenReused")["status"] == "False"


def test_of_two_at_once_exactly_one_wins(hub: Hub, silo: str) -> None:
    bundle = hub.invite(silo)
    token = joining.read_bundle(bundle).token

    async def both() -> list[Any]:
        calls = [join_client.join(fresh(bundle), token, time.time()) for _ in range(6)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(both())
    assert sum(isinstance(answer, Membership) for answer in answers) == 1
    lost = [answer for answer in answers if not isinstance(answer, Membership)]
    assert all("TokenUsed" in str(answer) for answer in lost), lost


def test_an_answer_that_was_lost_may_be_asked_for_again(hub: Hub, silo: str, agent: Agent) -> None:
    bundle = hub.invite(silo)
    agent.join(bundle)
    agent.rewrite(kubeconfig="", certificate="")
    key = agent.membership["key"]
    agent.join(bundle)
    assert agent.membership["key"] == key
    assert "has joined already" in agent.join(bundle, fails=True)


def test_an_expired_invitation(hub: Hub, silo: str, agent: Agent) -> None:
    bundle = hub.invite(silo)
    past = timestamp(time.time() - 60)
    namespace = f"umbel-silo-{silo}"
    patch = json.dumps({"stringData": {decisions.EXPIRES: past}})
    hub.api.kubectl("patch", "secret", decisions.SECRET, "-n", namespace, "--type=merge", "-p", patch)
    hub.api.kubectl("annotate", "silo", silo, "--overwrite", f"umbel.dev/invited-until={past}")
    assert f"InvitationExpired: the invitation ended at {past}" in agent.join(bundle, fails=True)
    until(lambda: hub.condition(silo, "Ready").get("reason") == "InvitationExpired", "it is shown as expired")
    agent.join(hub.invite(silo))


def request_with(*names: x509.GeneralName) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def post(bundle: Path, path: str, body: Any) -> tuple[int, dict[str, Any]]:
    """As whoever has the bundle, and a program of their own."""
    given = joining.read_bundle(bundle)

    async def call() -> tuple[int, dict[str, Any]]:
        context = join_client._context(fresh(bundle))
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with (
            aiohttp.ClientSession() as session,
            session.post(given.url + path, data=data, ssl=context, server_hostname=joining.SERVER_NAME) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    return asyncio.run(call())


def uri(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(name)


def test_a_request_has_the_silos_name_and_no_other(hub: Hub, silo: str) -> None:
    bundle = hub.invite(silo)
    right = uri(f"spiffe://umbel.local/silo-agent/{silo}")
    wrong = {
        "none": (),
        "another": (uri("spiffe://umbel.local/silo-agent/hospital-z"),),
        "a member's": (uri(f"spiffe://umbel.local/silo/{silo}"),),
        "two": (right, uri("spiffe://umbel.local/silo-agent/hospital-z")),
        "a DNS name too": (right, x509.DNSName(joining.SERVER_NAME)),
    }
    token = joining.read_bundle(bundle).token
    for what, names in wrong.items():
        body = {"silo": silo, "token": token, "request": request_with(*names)}
        status, said = post(bundle, joining.JOIN_PATH, body)
        assert (status, said["reason"]) == (400, joining.REQUEST_NOT_VALID), what
        assert f"silo-agent/{silo} and no other" in said["message"]
    assert joined(bundle).joined, "none of them used the token up"


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"silo": 1, "token": "x", "request": "y"}', b"[" * 20_000, b" " * 20_000]
)
def test_garbage_is_answered(hub: Hub, silo: str, body: bytes) -> None:
    status, said = post(hub.invite(silo), joining.JOIN_PATH, body)
    assert (status, said["reason"]) == (400, joining.REQUEST_NOT_VALID)


def test_renewing_takes_a_join_certificate(hub: Hub, silo: str) -> None:
    status, said = post(hub.invite(silo), joining.RENEW_PATH, {})
    assert (status, said["reason"]) == (401, joining.REQUEST_NOT_VALID)


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (-1, "the hub's certificate is not valid yet by this machine's clock"),
        (1, "this machine's clock is fast"),
        (30, "the hub's certificate is not valid any more by this machine's clock"),
    ],
)
def test_a_clock_that_is_hours_off_is_told(hub: Hub, silo: str, agent: Agent, hours: float, told: str) -> None:
    bundle, clock = hub.invite(silo), Clock(agent.folder / "clock")
    clock.off_by(hours)
    said = agent.join(bundle, fails=True, environment=clock.environment)
    assert told in said
    assert "set " in said
    clock.off_by(0)
    agent.join(bundle, environment=clock.environment)  # has used nothing up


def test_another_hub_behind_the_url_is_not_believed(hub: Hub, silo: str) -> None:
    with pytest.raises(JoinError, match="is not the hub that invited this silo"):
        joined(hub.invite(silo), authorities=pki.Authority.generate().bundle.decode())


# ---- what a silo may do


def test_a_silo_sees_its_own_namespace_and_no_other(hub: Hub, silo: str, agent: Agent) -> None:
    other = f"{silo}-b"
    try:
        hub.invite(other)
        agent.join(hub.invite(silo))
        mine = ["--kubeconfig", str(agent.kubeconfig())]
        kubectl = hub.api.kubectl
        assert kubectl("get", "fc", "-n", f"umbel-silo-{silo}", *mine) is not None
        forbidden = [
            ["get", "fc", "-n", f"umbel-silo-{other}"],
            ["get", "fc", "-A"],
            ["get", "secret", "-n", f"umbel-silo-{silo}"],
            ["get", "silo"],
            ["create", "token", "umbel-agent", "-n", f"umbel-silo-{silo}"],
        ]
        for words in forbidden:
            with pytest.raises(ClusterError) as caught:
                kubectl(*words, *mine)
            assert "orbidden" in str(caught.value), words
    finally:
        hub.umbel("silo", "remove", other)


# ---- renewing


def expired(membership: Membership, api: Api) -> Membership:
    """As of an agent that was away for two days: signed by the hub's authority, for the same key."""
    secret = json.loads(api.kubectl("get", "secret", "umbel-ca", "-n", "umbel-system", "-o", "json"))["data"]
    authority = pki.Authority.from_pem(b64decode(secret["ca.crt"]), b64decode(secret["ca.key"]))
    public = x509.load_pem_x509_certificate(membership.certificate.encode()).public_key()
    name = joining.agent_id(membership.trust_domain, membership.silo)
    ended = authority.certify(joining.public_part(public).encode(), name, hours=-0.01)
    return dataclasses.replace(membership, certificate=ended.decode())


def test_a_silo_that_was_away_for_days_renews_by_its_key(hub: Hub, silo: str) -> None:
    away = expired(joined(hub.invite(silo)), hub.api)
    assert x509.load_pem_x509_certificate(away.certificate.encode()).not_valid_after_utc.timestamp() < time.time()
    back = renewed(away)
    assert x509.load_pem_x509_certificate(back.certificate.encode()).not_valid_after_utc.timestamp() > time.time()
    assert back.kubeconfig != away.kubeconfig


def test_a_certificate_of_another_authority_renews_nothing(hub: Hub, silo: str) -> None:
    membership = joined(hub.invite(silo))
    public = x509.load_pem_x509_certificate(membership.certificate.encode()).public_key()
    name = joining.agent_id("umbel.local", silo)
    forged = pki.Authority.generate().certify(joining.public_part(public).encode(), name)
    with pytest.raises(JoinError) as caught:
        renewed(dataclasses.replace(membership, certificate=forged.decode()))
    assert not isinstance(caught.value, Removed)


def test_a_token_that_is_refused_is_renewed_by_the_agent_at_once(hub: Hub, silo: str, agent: Agent) -> None:
    agent.join(hub.invite(silo))
    config = yaml.safe_load(agent.membership["kubeconfig"])
    config["users"][0]["user"]["token"] = "not.a.token"
    agent.rewrite(kubeconfig=yaml.safe_dump(config))
    with running(agent):
        until(lambda: hub.condition(silo, "Ready").get("status") == "True", "alive", told=agent.log)
    assert "not.a.token" not in agent.membership["kubeconfig"]


def test_a_pods_agent_joins_once_whatever_bundle_it_is_started_with(
    hub: Hub, silo: str, agent: Agent, tmp_path: Path
) -> None:
    bundle = hub.invite(silo)
    with running(agent, "--join", bundle):
        until(lambda: hub.condition(silo, "Ready").get("status") == "True", "alive", told=agent.log)
    key, used = agent.membership["key"], counted(hub, joining.TOKEN_USED)
    (tmp_path / "gone.yaml").write_text("rolled back to something that is no bundle\n")
    other = dataclasses.replace(joining.read_bundle(bundle), url="https://other.example.org:8444")
    (tmp_path / "other.yaml").write_text(other.text())
    for given in (bundle, tmp_path / "gone.yaml", tmp_path / "other.yaml"):
        (agent.folder / "agent.log").unlink()  # an agent before has started too
        with running(agent, "--join", given):
            until(lambda: "the agent starts" in agent.log(), "started", told=agent.log)
            until(lambda: hub.condition(silo, "Ready").get("status") == "True", "alive", told=agent.log)
            assert not agent.ended(), agent.log()
        assert ("the bundle is of another hub" in agent.log()) == (given.name == "other.yaml")
    assert (agent.membership["key"], counted(hub, joining.TOKEN_USED)) == (key, used)
    assert f"remove {agent.state}/membership.json, and start the agent again" in agent.log()
    told = agent.join(tmp_path / "other.yaml", fails=True)
    assert f"has joined the hub at {hub.join_url} (umbel.local), and the bundle is of the hub at {other.url}" in told
