"""Who may join and who may renew, whatever is asked in whatever order."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.wire import pki
from umbel_operator import joining
from umbel_operator.hub.join import decisions
from umbel_operator.hub.join.decisions import Granted, Invitation, Refused
from umbel_operator.hub.join.limits import Limits

NOW = 1_800_000_000.0
HOUR = 3600.0
DOMAIN = "umbel.local"
RIGHT, WRONG = "a" * 22, "b" * 22
SILO = {"metadata": {"name": "hospital-a"}}
LIVES = Invitation(joining.hashed(RIGHT), NOW + HOUR)


def reason(answer: Granted | Refused) -> str:
    return answer.reason if isinstance(answer, Refused) else "granted"


def test_what_is_written_is_read_back() -> None:
    data = {name: b64encode(text.encode()).decode() for name, text in LIVES.data().items()}
    assert decisions.invitation({"data": data}) == LIVES


@pytest.mark.parametrize("data", [None, {}, {decisions.TOKEN: "YQ=="}, {decisions.TOKEN: "YQ==", "expires": "YQ=="}])
def test_a_secret_that_says_nothing_invites_nobody(data: Any) -> None:
    assert decisions.invitation({"data": data}) is None
    assert reason(decisions.join(decisions.invitation({"data": data}), RIGHT, "one", NOW)) == joining.TOKEN_NOT_VALID


@given(
    st.lists(
        st.tuples(st.sampled_from(["one", "two", "three"]), st.sampled_from([RIGHT, WRONG]), st.floats(0, 2 * HOUR)),
        max_size=20,
    )
)
def test_one_token_registers_one_key_however_often_and_by_whomever_it_is_tried(tries: list[Any]) -> None:
    found, winner = LIVES, ""
    for key, token, passed in sorted(tries, key=lambda t: t[2]):
        answer = decisions.join(found, token, key, NOW + passed)
        if isinstance(answer, Granted):
            assert token == RIGHT
            assert passed < HOUR
            assert winner in ("", key), "a second key"
            assert answer.register == (winner == "")
            winner, found = key, Invitation(found.token_hash, found.expires, key)
        elif token == WRONG:
            assert answer.reason == joining.TOKEN_NOT_VALID, "whoever has not the token hears nothing"
        elif winner not in ("", key):
            assert answer.reason == joining.TOKEN_USED
        else:
            assert answer.reason == joining.INVITATION_EXPIRED


@pytest.mark.parametrize(
    ("silo", "found", "key", "told"),
    [
        (SILO, Invitation("x", NOW, "one"), "one", "granted"),
        (SILO, Invitation("x", NOW - 900 * HOUR, "one"), "one", "granted"),
        (SILO, Invitation("x", NOW, "one"), "two", joining.REMOVED),
        (SILO, Invitation("x", NOW), "one", joining.REMOVED),
        (SILO, None, "one", joining.REMOVED),
        (None, Invitation("x", NOW, "one"), "one", joining.REMOVED),
        ({"metadata": {"deletionTimestamp": "now"}}, Invitation("x", NOW, "one"), "one", joining.REMOVED),
    ],
)
def test_the_registered_key_renews_for_as_long_as_the_silo_is_one(
    silo: Any, found: Invitation | None, key: str, told: str
) -> None:
    answer = decisions.renew(silo, found, key)
    assert reason(answer) == told
    if isinstance(answer, Refused):
        assert answer.status == 410


AUTHORITY = pki.Authority.generate()


def certificate(uri: str, *dns: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    pem, _ = AUTHORITY.identity(uri, dns)
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def test_the_caller_is_who_the_join_certificate_names() -> None:
    silo, key = decisions.caller(certificate(joining.agent_id(DOMAIN, "hospital-a")), DOMAIN)
    assert silo == "hospital-a"
    assert "PUBLIC KEY" in key


@pytest.mark.parametrize(
    "made",
    [
        None,
        certificate(pki.silo_id(DOMAIN, "hospital-a")),
        certificate(pki.operator_id(DOMAIN)),
        certificate(joining.agent_id("elsewhere", "hospital-a")),
        certificate(joining.agent_id(DOMAIN, "hospital-a"), "a.b.c"),
        certificate(joining.agent_id(DOMAIN, "Not/a/name")),
    ],
)
def test_no_other_certificate_speaks_to_the_join_service(made: bytes | None) -> None:
    answer = decisions.caller(made, DOMAIN)
    assert isinstance(answer, Refused)
    assert answer.status == 401


@given(st.text(max_size=40))
def test_no_join_certificate_is_a_members(name: str) -> None:
    assert not joining.agent_id(DOMAIN, name).startswith(pki.silo_id(DOMAIN, ""))


@given(st.one_of(st.none(), st.text(max_size=5), st.dictionaries(st.sampled_from("abc"), st.text(max_size=9))))
def test_fields_are_all_there_and_none_is_too_long(body: Any) -> None:
    found = decisions.fields(body, {"a": 3, "b": 5})
    right = isinstance(body, dict) and set(body) == {"a", "b"} and 0 < len(body["a"]) <= 3 and 0 < len(body["b"]) <= 5
    assert isinstance(found, Refused) != right


# ---- how often


def test_one_address_uses_up_its_own_allowance_only() -> None:
    limits = Limits(each=5, together=100, now=0.0)
    assert [limits.admit("a", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limits.admit("b", 0.0)
    assert limits.admit("a", 13.0)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 60)), max_size=300))
def test_all_together_never_have_more_than_is_there_for_all(asked: list[tuple[str, float]]) -> None:
    limits = Limits(each=10, together=20, now=0.0)
    admitted = sum(limits.admit(address, now) for address, now in sorted(asked, key=lambda a: a[1]))
    assert admitted <= 20 + 20 + 1


def test_of_very_many_addresses_few_are_remembered() -> None:
    limits = Limits(each=1, together=1e9, now=0.0)
    for number in range(10_000):
        limits.admit(str(number), 0.0)
    assert len(limits._by_address) <= 4096
