"""The agent's calls of the hub's join service: the authorities of the bundle are the only ones it trusts there."""

from __future__ import annotations

import email.utils
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509

from umbel.wire.pki import CLOCK_SKEW, write_private
from umbel_operator import joining
from umbel_operator.agent.identity import load_key
from umbel_operator.agent.join import JoinError, Membership, Removed
from umbel_operator.conditions import MESSAGE_CHARACTERS, timestamp

CALL_SECONDS = 60.0
NOT_YET_VALID, EXPIRED = 9, 10  # OpenSSL's


async def join(membership: Membership, token: str, now: float) -> Membership:
    """With what the hub has given. Raises JoinError. The same again is safe with the same key."""
    key = load_key(membership.key.encode())
    request = joining.request(key, membership.trust_domain, membership.silo)
    body = {"silo": membership.silo, "token": token, "request": request}
    return await _call(membership, joining.JOIN_PATH, body, now)


async def renew(membership: Membership, now: float) -> Membership:
    """Raises JoinError; Removed when the hub says so."""
    return await _call(membership, joining.RENEW_PATH, {}, now)


async def _call(membership: Membership, path: str, body: dict[str, str], now: float) -> Membership:
    context = _context(membership)
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                membership.url + path, json=body, ssl=context, server_hostname=joining.SERVER_NAME
            ) as response,
        ):
            said = await _read(response)
            status, date = response.status, response.headers.get("Date")
    except aiohttp.ClientConnectorCertificateError as error:
        raise _not_trusted(membership, error.certificate_error, now) from None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        words = f"{membership.url}: the hub is not reached ({str(error) or type(error).__name__})"
        raise JoinError(words, temporary=True) from None
    if (fault := clock_fault(date, now)) is not None:
        raise JoinError(fault, temporary=True)
    if status != 200:
        reason, message = (_plain(said.get(key)) for key in ("reason", "message"))
        message = message or f"the hub answered {status}"
        if reason == joining.REMOVED:
            raise Removed(message)
        raise JoinError(f"{reason or status}: {message}", temporary=status == 429 or status >= 500)
    try:
        found = membership.given(said["certificate"], said["authorities"], said["kubeconfig"])
    except KeyError as error:
        raise JoinError(f"{membership.url}: the hub's answer has no {error.args[0]}; is that a join service?") from None
    if (wrong := certificate_fault(found)) is not None:
        raise JoinError(f"the join certificate that the hub has given cannot be used: {wrong}")
    return found


def clock_fault(date: str | None, now: float) -> str | None:
    """What is wrong with this machine's clock, by the ``Date`` of an answer."""
    try:
        theirs = email.utils.parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return None
    if abs(theirs - now) <= CLOCK_SKEW.total_seconds():
        return None
    early = "slow" if now < theirs else "fast"
    return f"this machine's clock is {early}: it says {timestamp(now)}, and the hub's {timestamp(theirs)}; set it"


def certificate_fault(membership: Membership) -> str | None:
    """Why the certificate is not this agent's."""
    try:
        found = x509.load_pem_x509_certificate(membership.certificate.encode())
        issued = joining.issued_by_one_of(found, membership.authorities)
    except ValueError:
        return "it cannot be read"
    if found.public_key() != load_key(membership.key.encode()).public_key():
        return "it is for another key"
    expected = joining.agent_id(membership.trust_domain, membership.silo)
    if joining.names_of(found) != [expected]:
        return f"it is not for {expected} alone"
    return None if issued else "none of the hub's authorities signed it"


def _context(membership: Membership) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=membership.authorities)
    if membership.certificate:
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "pair.pem"  # OpenSSL reads a key only from a file
            write_private(pair, (membership.certificate + membership.key).encode())
            context.load_cert_chain(pair)
    return context


def _not_trusted(membership: Membership, error: Exception, now: float) -> JoinError:
    code = getattr(error, "verify_code", None)
    if code in (NOT_YET_VALID, EXPIRED):
        how = "not valid yet" if code == NOT_YET_VALID else "not valid any more"
        words = f"the hub's certificate is {how} by this machine's clock, {timestamp(now)}; set the clock"
        return JoinError(words, temporary=True)
    return JoinError(
        f"{membership.url}: whoever answers there is not the hub that invited this silo ({error}); "
        "compare the URL, or ask for a new bundle"
    )


def _plain(said: object) -> str:
    """It goes to a terminal, whoever wrote it."""
    return "".join(c if c.isprintable() else " " for c in str(said or ""))[:MESSAGE_CHARACTERS]


async def _read(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        found = json.loads(await response.text())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
