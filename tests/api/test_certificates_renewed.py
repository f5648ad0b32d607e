"""Certificates of a job are renewed at two thirds of their life, for the same keys, by an operator that runs on."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography import x509
from umbel_cluster.api import Api
from umbel_cluster.rest import UMBEL

from umbel.wire.pki import new_request

from .clocks import Clock
from .hub import Operator, clients, install, manifest, until
from .played import DEFAULT

pytestmark = pytest.mark.api
SILOS = ["renews-1", "renews-2", "renews-3"]
TWO_THIRDS = 24 * 2 / 3  # hours


def test_they_are_renewed_at_two_thirds_of_their_life(api: Api, operator: Operator, tmp_path: Path) -> None:
    install(api, SILOS)
    clock = Clock(tmp_path / "clock")
    operator.environment = clock.environment
    operator.start()
    api.kubectl("apply", "-f", "-", input=json.dumps(manifest("renewed", SILOS)))
    until(lambda: len(clients(api, "renewed")) == len(SILOS), "made", told=operator.log)
    for client in clients(api, "renewed"):
        meta, body = client["metadata"], {"status": {"certificateRequest": new_request()[0].decode()}}
        path = f"{UMBEL}/namespaces/{meta['namespace']}/federatedclients/{meta['name']}/status"
        assert api.client.status("PATCH", path, body) == 200
    first = until(lambda: _certificates(api), "signed", told=operator.log)

    clock.off_by(TWO_THIRDS - 0.5)
    _looked_at(api, operator, 1)
    assert _certificates(api) == first
    clock.off_by(TWO_THIRDS + 0.5)
    _looked_at(api, operator, 2)
    second = until(lambda: (now := _certificates(api)) != first and now, "renewed", told=operator.log)
    for name in first:
        old, new = (x509.load_pem_x509_certificate(found[name].encode()) for found in (first, second))
        assert old.public_key() == new.public_key(), name
        assert (new.not_valid_after_utc - old.not_valid_after_utc).total_seconds() / 3600 > TWO_THIRDS, name
    assert operator.runs, operator.log()
    api.kubectl("delete", "fj", "renewed", "--timeout=60s")


def _looked_at(api: Api, operator: Operator, number: int) -> None:
    """A pass over the job has begun and ended: its spec was edited, and it is known for what it is now."""
    path = f"{UMBEL}/namespaces/default/federatedjobs/renewed"
    assert api.client.status("PATCH", path, {"spec": {"ttlSecondsAfterFinished": number}}) == 200

    def seen() -> bool:
        job = api.client.find(path) or {}
        return bool(job["status"].get("observedGeneration") == job["metadata"]["generation"])

    until(seen, "looked at", told=operator.log)


def _certificates(api: Api) -> dict[str, str]:
    """Of its clients and its server; empty until all are there."""
    found = {c["spec"]["silo"]: c["spec"].get("certificate") for c in clients(api, "renewed")}
    secret = api.client.find(f"{DEFAULT}/secrets/renewed-server-tls")
    if secret is None or not all(found.values()):
        return {}
    return {**found, "the server": b64decode(secret["data"]["tls.crt"]).decode()}
