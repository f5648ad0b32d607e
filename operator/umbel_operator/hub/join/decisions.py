"""Who may join, and who may renew. Pure.

An invitation is a Secret of the silo's namespace at the hub: the hash of a token, when it ends, and, once it has been
used, the public key of the agent that used it. That key is the silo from then on.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from umbel_operator import joining
from umbel_operator.conditions import seconds, timestamp
from umbel_operator.hub.observed import Object

SECRET = "umbel-join"
TOKEN, EXPIRES, KEY = "token.sha256", "expires", "registered.pem"


@dataclass(frozen=True, slots=True)
class Invitation:
    """``key``: PEM of the registered public key, empty while nobody has used the token."""

    token_hash: str
    expires: float
    key: str = ""

    def data(self) -> dict[str, str]:
        return {TOKEN: self.token_hash, EXPIRES: timestamp(self.expires), KEY: self.key}


@dataclass(frozen=True, slots=True)
class Granted:
    """``register``: the key is to be kept, and nobody else's may have been meanwhile."""

    key: str
    register: bool


@dataclass(frozen=True, slots=True)
class Refused:
    status: int
    reason: str
    message: str


AGAIN = "have the hub's administrator invite it again: `umbel silo invite`"


def invitation(secret: Object | None) -> Invitation | None:
    """What the Secret says; None: there is none, or one that nobody can use."""
    try:
        data = {name: b64decode(text).decode() for name, text in ((secret or {}).get("data") or {}).items()}
        return Invitation(data[TOKEN], seconds(data[EXPIRES]), data.get(KEY, ""))
    except (KeyError, ValueError, binascii.Error):
        return None


def requested_key(request: str, trust_domain: str, silo: str) -> str | Refused:
    """The public key of a signing request that is right: its own signature, P-256, the silo's name and no other."""
    try:
        found = x509.load_pem_x509_csr(request.encode())
        key, names, proven = found.public_key(), joining.names_of(found), found.is_signature_valid
    except ValueError:
        return _wrong("it is no certificate signing request in PEM")
    if not proven:
        return _wrong("it is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return _wrong("its key is not ECDSA P-256")
    expected = joining.agent_id(trust_domain, silo)
    if names != [expected]:
        return _wrong(f"it has {len(names)} names; it must have {expected} and no other")
    return joining.public_part(key)


def join(found: Invitation | None, token: str, key: str, now: float) -> Granted | Refused:
    """``key``: of the request. Whoever has not the token hears nothing about the silo. An agent whose answer was lost
    comes again with its token and its registered key: that is no second use."""
    if found is None or not hmac.compare_digest(found.token_hash.encode(), joining.hashed(token).encode()):
        return Refused(403, joining.TOKEN_NOT_VALID, f"the hub has no such invitation of this silo; {AGAIN}")
    if found.key and found.key != key:
        return Refused(403, joining.TOKEN_USED, f"this invitation was used already, by another agent; {AGAIN}")
    if now >= found.expires:
        ended = timestamp(found.expires)
        return Refused(403, joining.INVITATION_EXPIRED, f"the invitation ended at {ended}; {AGAIN}")
    return Granted(key, register=not found.key)


def renew(silo: Object | None, found: Invitation | None, key: str) -> Granted | Refused:
    """``silo``, ``found``: as the API server has them, and None only if it said that there is none. ``key``: of the
    certificate that the caller has proved to own, whether it has expired or not."""
    if silo is None or "deletionTimestamp" in silo["metadata"] or found is None:
        return Refused(410, joining.REMOVED, f"the silo was removed from the hub; to take part again, {AGAIN}")
    if found.key != key:
        why = "another agent has joined in its place" if found.key else "it was removed, and is invited anew"
        return Refused(410, joining.REMOVED, f"this agent does not speak for the silo any more: {why}")
    return Granted(key, register=False)


def caller(certificate: bytes | None, trust_domain: str) -> tuple[str, str] | Refused:
    """(silo, public key) of a join certificate (DER) that TLS has verified; of no other certificate."""
    if certificate is None:
        return _unknown("without a certificate")
    found = x509.load_der_x509_certificate(certificate)
    names, prefix = joining.names_of(found), joining.agent_id(trust_domain, "")
    if len(names) != 1 or not names[0].startswith(prefix):
        return _unknown("with a certificate that is not a join certificate")
    silo = names[0].removeprefix(prefix)
    if joining.silo_fault(silo) is not None:
        return _unknown("with a certificate of no silo")
    return silo, joining.public_part(found.public_key())


def fields(body: object, wanted: Mapping[str, int]) -> dict[str, str] | Refused:
    """The fields of a request's body, each a text of at most so many characters, and no other."""
    if not isinstance(body, dict) or set(body) != set(wanted):
        return Refused(400, joining.REQUEST_NOT_VALID, f"send a JSON object with the fields {', '.join(wanted)}")
    for name, limit in wanted.items():
        if not isinstance(body[name], str) or not 0 < len(body[name]) <= limit:
            words = f"{name}: must be a text of at most {limit} characters"
            return Refused(400, joining.REQUEST_NOT_VALID, words)
    return {name: body[name] for name in wanted}


def _wrong(why: str) -> Refused:
    return Refused(400, joining.REQUEST_NOT_VALID, f"request: {why}")


def _unknown(how: str) -> Refused:
    return Refused(401, joining.REQUEST_NOT_VALID, f"the caller came {how}; renewing takes the silo's join certificate")
