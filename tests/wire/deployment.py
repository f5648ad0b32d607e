"""A job with a server of its own: certificates, manifest, the real process, and what its ports say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families

from umbel.wire import pki
from umbel.wire.credentials import Credentials

JOB, NAMESPACE, UID = "tiny", "default", "uid-of-tiny"
SERVER_NAME = pki.server_name(JOB, NAMESPACE)
APP = Path(__file__).parent / "app"
PATIENCE = 60.0  # seconds until a condition that ought to come true is given up

T = TypeVar("T")


@contextmanager
def awaited(what: str) -> Iterator[Callable[[], None]]:
    """Yields a check that fails once `PATIENCE` is over: for loops that poll a condition."""
    end = time.monotonic() + PATIENCE

    def check() -> None:
        assert time.monotonic() < end, f"waited {PATIENCE:g} s for {what}"

    yield check


async def eventually(condition: Callable[[], T], what: str) -> T:
    """Poll until ``condition`` gives something true, and return that."""
    with awaited(what) as check:
        while not (found := await asyncio.to_thread(condition)):
            check()
            await asyncio.sleep(0.02)
        return found


def manifest(silos: Sequence[str], **spec: Any) -> dict[str, Any]:
    """A job of the `tiny` client; ``spec`` overrides whole sections."""
    sections: dict[str, Any] = {
        "app": {"client": "tiny:app", "config": {"size": 1000}},
        "rounds": {"total": 100_000, "updates": 4, "quorum": 3, "overSelection": 1.0, "timeoutSeconds": 300},
        "evaluation": {"everyRounds": 0},
        "limits": {"maxAbs": 100},
        "silos": [{"name": name, "dataset": "none"} for name in silos],
        **spec,
    }
    return {
        "apiVersion": "umbel.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": JOB, "namespace": NAMESPACE},
        "spec": sections,
    }


def certify(authority: pki.Authority, directory: Path, names: Sequence[x509.GeneralName]) -> Credentials:
    """A client certificate with any names at all, signed by ``authority``."""
    credentials = authority.issue(directory, "urn:replaced")
    key = serialization.load_pem_private_key(credentials.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    template = x509.load_pem_x509_certificate(credentials.certificate.read_bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, pki.silo_id("umbel.local", "silo-1"))]))
        .issuer_name(template.issuer)
        .public_key(template.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    credentials.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return credentials


@dataclass
class Deployment:
    """A running server, and everybody's credentials."""

    folder: Path
    authority: pki.Authority
    process: subprocess.Popen[bytes]
    endpoints: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.endpoints["federation"])

    @property
    def address(self) -> str:
        return self.url.removeprefix("grpcs://")

    def credentials(self, silo: str) -> Credentials:
        folder = self.folder / "silos" / silo
        if not folder.exists():
            self.authority.issue(folder, pki.silo_id("umbel.local", silo))
        return Credentials(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")

    def metrics(self) -> dict[str, float]:
        """Every series of ``/metrics``, as ``name{label=value,…}`` without the job's own two labels."""
        with urllib.request.urlopen(f"{self.endpoints['http']}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {k: v for k, v in sample.labels.items() if k not in ("fl_namespace", "fl_job")}
                shown = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
                found[f"{sample.name}{{{shown}}}" if shown else sample.name] = sample.value
        return found

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident(self) -> int:
        """Bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def deployed(folder: Path, job: dict[str, Any]) -> Iterator[Deployment]:
    """`umbel server` as a process, until the end of the context; whatever happens, it is gone then.

    A fault of a member must never be a traceback at the server: that is checked at the end.
    """
    authority = pki.Authority.create(folder / "ca")
    authority.issue(folder / "tls", pki.server_id("umbel.local", NAMESPACE, JOB), [SERVER_NAME])
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(_command(folder), stdout=log, stderr=subprocess.STDOUT)
    try:
        deployment = Deployment(folder, authority, process, _ready(process, folder))
        yield deployment
    finally:
        _end(process)
    said = deployment.log()
    assert "Traceback" not in said, said
    assert "Exception" not in said, said


def _command(folder: Path) -> list[str]:
    options = {
        "--job": folder / "job.yaml",
        "--state": folder / "state",
        "--uid": UID,
        "--listen": "grpcs://127.0.0.1:0",
        "--tls": folder / "tls",
        "--admin": "127.0.0.1:0",
        "--http": "127.0.0.1:0",
        "--endpoints": folder / "endpoints.json",
        "--path": APP,
    }
    return [sys.executable, "-m", "umbel", "server", *(str(part) for pair in options.items() for part in pair)]


def _ready(process: subprocess.Popen[bytes], folder: Path) -> dict[str, Any]:
    file = folder / "endpoints.json"
    with awaited("the server's endpoints") as check:
        while not file.exists():
            assert process.poll() is None, (folder / "server.log").read_text()
            check()
            time.sleep(0.02)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
