"""What an agent does with a bundle and with what it has kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from umbel.wire import pki
from umbel_operator import joining
from umbel_operator.agent import join, join_client
from umbel_operator.agent.identity import load_key
from umbel_operator.agent.join import JoinError, Left, Membership
from umbel_operator.agent.join_store import FileStore
from umbel_operator.joining import Bundle, BundleError

AUTHORITY = pki.Authority.generate()
BUNDLE = Bundle(
    "hospital-a", "https://hub.example.org:8444", "umbel.local", AUTHORITY.bundle.decode(), "t" * 22, "2026-01-01"
)
OTHER = dataclasses.replace(BUNDLE, token="u" * 22)
FIRST = join.decide(None, BUNDLE, "hospital-a")
JOINED = FIRST.given("certificate", BUNDLE.authorities, "kubeconfig")


def test_the_first_time_a_key_is_made() -> None:
    assert not FIRST.joined
    assert load_key(FIRST.key.encode())
    assert FIRST.token_hash == joining.hashed(BUNDLE.token)
    assert BUNDLE.token not in FIRST.text()
    assert join.decide(None, BUNDLE, None).key != FIRST.key


def test_who_has_joined_never_uses_a_bundle() -> None:
    for bundle in (None, BUNDLE, OTHER):
        assert join.decide(JOINED, bundle, "hospital-a") is JOINED


@pytest.mark.parametrize("changed", [{"url": "https://other.example.org:8444"}, {"trust_domain": "other.local"}])
def test_a_bundle_of_another_hub_is_told_with_what_to_remove(changed: dict[str, str]) -> None:
    assert join.another_hub(JOINED, OTHER, "Secret x") is None
    told = join.another_hub(JOINED, dataclasses.replace(OTHER, **changed), "Secret x")
    assert told is not None
    for word in (JOINED.url, JOINED.trust_domain, *changed.values(), "remove Secret x, and start the agent again"):
        assert word in told


def test_an_answer_that_was_lost_is_asked_for_with_the_same_key() -> None:
    assert join.decide(FIRST, BUNDLE, "hospital-a") is FIRST
    assert join.decide(FIRST, OTHER, "hospital-a").key != FIRST.key


def test_who_was_removed_needs_another_bundle() -> None:
    gone = JOINED.left()
    assert [gone.joined, gone.key, gone.certificate, gone.kubeconfig] == [False, "", "", ""]
    for bundle, told in ((None, "join with a new bundle"), (BUNDLE, "this bundle was used; ask for a new one")):
        with pytest.raises(Left, match=told):
            join.decide(gone, bundle, "hospital-a")
    assert join.decide(gone, OTHER, "hospital-a").key


def test_without_either_it_says_what_to_do() -> None:
    for kept in (None, FIRST):
        with pytest.raises(JoinError, match="umbel agent join BUNDLE"):
            join.decide(kept, None, "hospital-a")


@pytest.mark.parametrize(("kept", "bundle"), [(JOINED, None), (None, BUNDLE)])
def test_a_site_file_of_another_silo(kept: Membership | None, bundle: Bundle | None) -> None:
    with pytest.raises(JoinError, match="for silo hospital-a, and the site file is of silo hospital-b"):
        join.decide(kept, bundle, "hospital-b")


async def test_what_is_kept_is_read_back_by_its_owner_only(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "new" / "state")
    assert await store.load() is None
    await store.save(JOINED)
    assert await store.load() == JOINED
    assert store.path.stat().st_mode & 0o077 == 0
    store.path.write_text('{"silo": 1}')
    with pytest.raises(JoinError, match=r"membership\.json: is not what an agent has kept"):
        await store.load()


def test_a_bundle_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(BUNDLE.text())
    assert joining.read_bundle(tmp_path / "b.yaml") == BUNDLE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "kind: is no JoinBundle"),
        ("a: [", "is no YAML"),
        ("kind: JoinBundle", "silo: is missing"),
        (BUNDLE.text() + "more: 1\n", "more: is no field of a bundle"),
        (dataclasses.replace(BUNDLE, url="http://x").text(), "url: http://x is not an https:// address"),
        (dataclasses.replace(BUNDLE, silo="../../x").text(), "silo: '../../x' is not a silo's name"),
        (dataclasses.replace(BUNDLE, authorities="x").text(), "authorities: are no certificates"),
    ],
)
def test_what_is_no_bundle_is_said_so(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(text)
    with pytest.raises(BundleError, match=told) as caught:
        joining.read_bundle(path)
    assert str(path) in str(caught.value)
    with pytest.raises(BundleError, match="No such file"):
        joining.read_bundle(tmp_path / "none")


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("Fri, 15 Jan 2027 08:00:00 GMT", None),
        ("Fri, 15 Jan 2027 08:04:00 GMT", None),
        ("Fri, 15 Jan 2027 09:00:00 GMT", "is slow"),
        ("Fri, 15 Jan 2027 07:00:00 GMT", "is fast"),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_clock_is_compared_with_the_hubs(date: str | None, told: str | None) -> None:
    found = join_client.clock_fault(date, 1_800_000_000.0)
    assert (found is None) == (told is None)
    assert (told or "") in (found or "")


def certified(name: str, authority: pki.Authority = AUTHORITY, membership: Membership = FIRST) -> Membership:
    public = joining.public_part(load_key(membership.key.encode()).public_key())
    pem = authority.certify(public.encode(), name).decode()
    return FIRST.given(pem, BUNDLE.authorities, "kubeconfig")


def test_a_join_certificate_is_for_this_agent_or_not_used() -> None:
    right = joining.agent_id("umbel.local", "hospital-a")
    assert join_client.certificate_fault(certified(right)) is None
    wrong = {
        "is not for": certified(joining.agent_id("umbel.local", "hospital-b")),
        "another key": certified(right, membership=join.decide(None, BUNDLE, None)),
        "none of the hub's authorities": certified(right, pki.Authority.generate()),
        "cannot be read": FIRST.given("garbage", BUNDLE.authorities, "kubeconfig"),
    }
    for told, membership in wrong.items():
        assert told in (join_client.certificate_fault(membership) or "")
