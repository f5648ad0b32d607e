"""Names and labels of all that the control plane makes. Deterministic: a second try finds what the first made."""

from __future__ import annotations

import hashlib

PREFIX = "umbel.dev"
MANAGED_BY = "app.kubernetes.io/managed-by"
JOB, JOB_NAMESPACE, JOB_UID = f"{PREFIX}/job", f"{PREFIX}/job-namespace", f"{PREFIX}/job-uid"
SILO, COMPONENT = f"{PREFIX}/silo", f"{PREFIX}/component"
DIGEST = f"{PREFIX}/digest"  # annotation: of the object as it was applied
MODEL, IMAGE, FINISHED = f"{PREFIX}/model", f"{PREFIX}/image", f"{PREFIX}/finished"  # annotations of a model volume
AGENT_REPORT = f"{PREFIX}/agent"  # annotation of an agent's Lease
INVITED_UNTIL = f"{PREFIX}/invited-until"  # annotation of a Silo: when its invitation ends
FINALIZER = f"{PREFIX}/federatedjob"
OPERATOR = f"{PREFIX}/operator"  # spec.managedBy of a job that is ours, said or not

HUB_MANAGER, AGENT_MANAGER = "umbel-hub", "umbel-agent"
AGENT = "umbel-agent"  # ServiceAccount and Lease of a silo's agent, in the silo's namespace
SILO_NAMESPACE = "umbel-silo-"
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def client(trust_domain: str, namespace: str, job: str, silo: str) -> str:
    """Of a FederatedClient, and of what the silo makes for it; the hash tells apart jobs of one name."""
    return f"{job}-{short_hash(trust_domain, namespace, job, silo)}"


def short_hash(*parts: str) -> str:
    """Ten characters of a DNS label: 50 bits."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big")
    return "".join(BASE32[number >> shift & 31] for shift in range(0, 50, 5))


def server(job: str) -> str:
    return f"{job}-server"


def admin(job: str) -> str:
    return f"{job}-admin"


def server_tls(job: str) -> str:
    return f"{job}-server-tls"


def model_volume(job: str, uid: str) -> str:
    """Of this very job: a later one of the same name never finds it."""
    return f"{job}-model-{uid[:8]}"


def silo_namespace(silo: str) -> str:
    return SILO_NAMESPACE + silo
