"""The authority's Secret, and how one authority takes another's place without a gap. Pure.

Settled: one authority. Trusting: the next is in every bundle, and the old one signs on. Signing: the next signs, and
what the old one signed is trusted still. Then the old one goes. Each of the two phases lasts for the overlap: longer
than a certificate lives, so that whoever renews in time never meets one that it does not know.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from umbel.wire import pki
from umbel_operator import names
from umbel_operator.conditions import seconds, timestamp
from umbel_operator.hub.observed import Object

CA_SECRET = "umbel-ca"
BUNDLE, KEY, NEXT_KEY = "ca.crt", "ca.key", "next.key"
PHASE, SINCE, OVERLAP = (f"{names.PREFIX}/authority-{part}" for part in ("phase", "since", "overlap-seconds"))
OVERLAP_SECONDS = 26 * 3600.0  # a certificate's life, and time for it to arrive

Phase = Literal["Settled", "Trusting", "Signing"]


@dataclass(frozen=True, slots=True)
class Keys:
    """What the Secret holds. ``next_key``: of the authority that is trusted and does not sign yet."""

    bundle: bytes
    key: bytes
    next_key: bytes = b""
    phase: Phase = "Settled"
    since: float = 0.0
    overlap: float = OVERLAP_SECONDS

    def authority(self) -> pki.Authority:
        """Raises ValueError when key and bundle do not belong together."""
        return pki.Authority.from_pem(self.bundle, self.key)


def new() -> Keys:
    made = pki.Authority.generate()
    return Keys(made.bundle, made.key_pem)


def read(secret: Object) -> Keys:
    """Raises ValueError: where it is wrong, and what would be right."""
    data, said = secret.get("data") or {}, (secret.get("metadata") or {}).get("annotations") or {}
    try:
        bundle, key = b64decode(data[BUNDLE]), b64decode(data[KEY])
        phase, since = said.get(PHASE, "Settled"), seconds(said[SINCE]) if SINCE in said else 0.0
        found = Keys(bundle, key, b64decode(data.get(NEXT_KEY) or ""), "Settled", since)
        found.authority()
        if phase == "Settled":
            return found
        if phase not in ("Trusting", "Signing") or (phase == "Trusting" and not found.next_key):
            raise ValueError(f"annotation {PHASE}: {phase} is no phase that can be gone on from")
        return replace(found, phase=phase, overlap=float(said.get(OVERLAP, OVERLAP_SECONDS)))
    except (KeyError, ValueError, binascii.Error) as error:
        raise ValueError(f"Secret {CA_SECRET}: {error}; restore it with `umbel hub ca restore`") from None


def written(keys: Keys, namespace: str) -> dict[str, Any]:
    """The Secret; as the body of a merge patch it takes away what is not in it."""
    settled = keys.phase == "Settled"
    said = {PHASE: keys.phase, SINCE: timestamp(keys.since), OVERLAP: str(keys.overlap)}
    data = {BUNDLE: keys.bundle, KEY: keys.key, NEXT_KEY: keys.next_key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": CA_SECRET,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: "umbel"},
            "annotations": {name: None if settled else text for name, text in said.items()},
        },
        "data": {name: b64encode(pem).decode() if pem else None for name, pem in data.items()},
    }


def created(keys: Keys, namespace: str) -> dict[str, Any]:
    """The same, for a Secret that is not there yet."""
    secret = written(keys, namespace)
    del secret["metadata"]["annotations"]
    secret["data"] = {name: pem for name, pem in secret["data"].items() if pem}
    return secret


def begun(keys: Keys, overlap: float, now: float) -> Keys:
    """Raises ValueError while another rotation is under way."""
    if keys.phase != "Settled":
        raise ValueError(f"a rotation is under way since {timestamp(keys.since)} ({keys.phase}); wait for its end")
    following = pki.Authority.generate()
    bundle = _pem(keys.authority().certificate) + following.bundle
    return Keys(bundle, keys.key, following.key_pem, "Trusting", now, overlap)


def advanced(keys: Keys, now: float) -> Keys | None:
    """The next phase, once it is due."""
    if keys.phase == "Settled" or now < keys.since + keys.overlap:
        return None
    if keys.phase == "Signing":
        return Keys(_pem(keys.authority().certificate), keys.key)
    old, new_one = keys.authority(), pki.Authority.from_pem(keys.bundle, keys.next_key)
    bundle = _pem(new_one.certificate) + _pem(old.certificate)
    return Keys(bundle, keys.next_key, b"", "Signing", now, keys.overlap)


def saved(keys: Keys) -> bytes:
    """For a file: certificates, then the key that signs. What of a rotation is not done yet is not in it."""
    return _pem(keys.authority().certificate) + keys.key


def loaded(text: bytes) -> Keys:
    """The reverse. Raises ValueError."""
    begin = text.find(b"-----BEGIN PRIVATE KEY")
    if begin < 0:
        raise ValueError("it holds no private key")
    keys = Keys(text[:begin], text[begin:])
    return Keys(_pem(keys.authority().certificate), keys.key)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
