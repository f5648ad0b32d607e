"""The authority is backed up, restored and rotated while silos renew and a job has certificates: over a real API
server, by the operator itself."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from umbel.wire import pki
from umbel_operator import joining
from umbel_operator.agent.join import JoinError, Membership
from umbel_operator.hub import rotation

from .hub import manifest, until
from .joining import IMAGE, Agent, Hub, renewed, running

pytestmark = pytest.mark.api
OVERLAP_SECONDS = 45.0  # hours in earnest; what has to be in time here is a pass of the operator
JOB, SILO = "rotated", "rotated-1"


def authority(hub: Hub) -> rotation.Keys:
    return rotation.read(json.loads(hub.api.kubectl("get", "secret", "umbel-ca", "-n", "umbel-system", "-o", "json")))


def issuer(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).issuer.rfc4514_string()


def test_a_rotation_leaves_no_gap(hub: Hub, tmp_path: Path) -> None:
    agent = Agent(SILO, tmp_path)
    agent.join(hub.invite(SILO))
    before = Membership(**agent.membership)
    old = authority(hub).authority().certificate.subject.rfc4514_string()
    body = manifest(JOB, [SILO, "never-1", "never-2"])
    body["spec"]["app"]["image"] = IMAGE
    try:
        with running(agent):
            hub.api.kubectl("apply", "-f", "-", input=json.dumps(body))
            until(lambda: pair(hub), "the job's certificates", told=agent.log)
            hub.umbel("hub", "ca", "rotate", "--overlap", OVERLAP_SECONDS / 3600)
            assert "is under way since" in hub.umbel("hub", "ca", "rotate", fails=True)
            assert "rotation: " in hub.umbel("hub", "status")
            last = followed(hub, before, {"Trusting", "Signing", "Settled"}, told=hub.log)
            new = authority(hub).authority().certificate.subject.rfc4514_string()
            assert new != old
            assert [issuer(pem) for pem in last] == [new, new]
    finally:
        hub.api.kubectl("delete", "fj", JOB, "--ignore-not-found", "--timeout=60s")
        agent.stop()
        hub.umbel("silo", "remove", SILO)
    with pytest.raises(JoinError, match="is not the hub that invited this silo"):
        renewed(before)


def pair(hub: Hub) -> tuple[str, str] | None:
    """The certificates of the job's server and of its client, once there are any: each trusted by the other's bundle,
    or this fails."""
    get = hub.api.kubectl
    clients = json.loads(get("get", "fc", "-A", "-l", f"umbel.dev/job={JOB}", "-o", "json"))["items"]
    secret = json.loads(get("get", "secret", f"{JOB}-server-tls", "--ignore-not-found", "-o", "json") or "{}")
    specs = [item["spec"] for item in clients if item["spec"]["silo"] == SILO and item["spec"].get("certificate")]
    if not secret or not specs:
        return None
    server, bundle = (b64decode(secret["data"][name]).decode() for name in ("tls.crt", "ca.crt"))
    client, theirs = specs[0]["certificate"], specs[0]["authorities"]
    assert joining.issued_by_one_of(x509.load_pem_x509_certificate(server.encode()), theirs), "the client's trust"
    assert joining.issued_by_one_of(x509.load_pem_x509_certificate(client.encode()), bundle), "the server's trust"
    return server, client


def followed(hub: Hub, membership: Membership, phases: set[str], told: Any) -> tuple[str, str]:
    """Renews in every phase, by what the one before has given; what the job has in the end."""
    seen: set[str] = set()
    found = None
    end = time.monotonic() + 600
    while time.monotonic() < end:
        found = pair(hub)
        keys = authority(hub)
        if keys.phase not in seen:
            membership = renewed(membership)
            if membership.authorities == keys.bundle.decode():  # the operator has noticed
                seen.add(keys.phase)
        now = keys.authority().certificate.subject.rfc4514_string()
        if keys.phase == "Settled" and "Settled" in seen and found and {issuer(pem) for pem in found} == {now}:
            break
        time.sleep(0.5)
    assert seen == phases, told()
    assert found is not None
    assert renewed(membership).authorities == authority(hub).bundle.decode()
    return found


def test_backup_and_restore(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    hub.umbel("hub", "ca", "backup", file)
    assert file.stat().st_mode & 0o077 == 0
    mine = authority(hub)
    assert rotation.loaded(file.read_bytes()).key == mine.key
    other = tmp_path / "other.pem"
    other.write_bytes(rotation.saved(rotation.new()))
    assert "the hub has another authority" in hub.umbel("hub", "ca", "restore", other, fails=True)
    assert "is no authority (it holds no private key)" in wrong(hub, tmp_path, pki.Authority.generate().bundle)
    assert authority(hub) == mine
    hub.umbel("hub", "ca", "restore", other, "--replace")
    assert authority(hub).key == rotation.loaded(other.read_bytes()).key
    hub.api.kubectl("delete", "secret", "umbel-ca", "-n", "umbel-system")
    hub.umbel("hub", "ca", "restore", file)
    assert authority(hub).key == mine.key


def wrong(hub: Hub, folder: Path, text: bytes) -> str:
    (folder / "wrong.pem").write_bytes(text)
    return hub.umbel("hub", "ca", "restore", folder / "wrong.pem", fails=True)


def test_the_hub_on_one_screen(hub: Hub) -> None:
    hub.invite("shown")
    try:
        until(lambda: hub.condition("shown", "Ready").get("reason") == "Invited", "invited")
        said = hub.umbel("hub", "status")
        assert "operator   alive" in said
        assert f"joining    {hub.join_url}" in said
        assert "1 Invited" in said
        assert "\njobs       " in said
        assert len(said.splitlines()) <= 24
    finally:
        hub.umbel("silo", "remove", "shown")
