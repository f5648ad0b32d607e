"""One authority takes another's place: who trusts whom, at every moment of it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from umbel.wire import pki
from umbel_operator import joining
from umbel_operator.hub import rotation
from umbel_operator.hub.rotation import Keys

NOW = 1_800_000_000.0
OVERLAP = 26 * 3600.0
SETTLED = rotation.new()


def phases() -> list[Keys]:
    """Before, trusting, signing, after."""
    trusting = rotation.begun(SETTLED, OVERLAP, NOW)
    signing = rotation.advanced(trusting, NOW + OVERLAP)
    assert signing is not None
    after = rotation.advanced(signing, NOW + 2 * OVERLAP)
    assert after is not None
    return [SETTLED, trusting, signing, after]


def signed(keys: Keys) -> x509.Certificate:
    return x509.load_pem_x509_certificate(keys.authority().identity("spiffe://umbel.local/silo/a")[0])


def test_what_one_phase_signs_its_neighbours_trust() -> None:
    found = phases()
    for number, keys in enumerate(found):
        for other in found[max(0, number - 1) : number + 2]:
            assert joining.issued_by_one_of(signed(keys), other.bundle.decode()), (keys.phase, other.phase)


def test_in_the_end_the_old_one_is_trusted_by_nobody() -> None:
    before, *_, after = phases()
    assert not joining.issued_by_one_of(signed(before), after.bundle.decode())
    assert (after.phase, after.next_key) == ("Settled", b"")
    assert rotation.advanced(after, NOW + 1e9) is None


def test_the_private_key_of_the_old_one_is_not_kept_once_the_new_one_signs() -> None:
    before, trusting, signing, _ = phases()
    assert trusting.key == before.key
    assert before.key not in (signing.key, signing.next_key)


@given(st.lists(st.floats(0, OVERLAP), max_size=40))
def test_no_phase_is_shorter_than_the_overlap_however_often_it_is_looked_at(steps: list[float]) -> None:
    keys, now, since = rotation.begun(SETTLED, OVERLAP, NOW), NOW, NOW
    for step in steps:
        now += step
        following = rotation.advanced(keys, now)
        if following is not None:
            assert now - since >= OVERLAP
            keys, since = following, now


def test_of_two_rotations_the_second_waits() -> None:
    with pytest.raises(ValueError, match="is under way since"):
        rotation.begun(rotation.begun(SETTLED, OVERLAP, NOW), OVERLAP, NOW)


def stored(keys: Keys, before: dict[str, Any]) -> dict[str, Any]:
    """As a merge patch leaves it."""
    body = rotation.written(keys, "umbel-system")
    data = {**before.get("data", {}), **body["data"]}
    said = {**before.get("metadata", {}).get("annotations", {}), **body["metadata"]["annotations"]}
    kept: dict[str, Any] = {"metadata": {"annotations": {k: v for k, v in said.items() if v is not None}}}
    return {**kept, "data": {k: v for k, v in data.items() if v is not None}}


def test_every_phase_is_read_back_as_it_was_written() -> None:
    secret: dict[str, Any] = {}
    for keys in phases():
        secret = stored(keys, secret)
        found = rotation.read(secret)
        assert found == keys
    assert set(secret["data"]) == {"ca.crt", "ca.key"}
    assert secret["metadata"]["annotations"] == {}


def test_a_rotation_that_cannot_go_on_is_said_so() -> None:
    secret = stored(phases()[1], {})
    del secret["data"]["next.key"]
    with pytest.raises(ValueError, match=r"Secret umbel-ca: .*umbel hub ca restore"):
        rotation.read(secret)


def test_a_key_of_another_authority_is_said_so() -> None:
    other = b64encode(pki.Authority.generate().key_pem).decode()
    secret = stored(SETTLED, {})
    with pytest.raises(ValueError, match="belongs to none of the authorities"):
        rotation.read({**secret, "data": {**secret["data"], "ca.key": other}})


def test_a_backup_is_restored_and_has_no_half_rotation_in_it() -> None:
    for keys in phases():
        back = rotation.loaded(rotation.saved(keys))
        assert (back.key, back.phase) == (keys.key, "Settled")
        assert joining.issued_by_one_of(signed(keys), back.bundle.decode())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "holds no private key"),
        (SETTLED.bundle, "holds no private key"),
        (SETTLED.key, "Unable to load PEM|no certificate"),
        (pki.Authority.generate().bundle + SETTLED.key, "belongs to none of the authorities"),
    ],
)
def test_what_is_no_backup_is_refused(text: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        rotation.loaded(text)


def test_a_new_secret_has_nothing_empty_in_it() -> None:
    made = rotation.created(SETTLED, "umbel-system")
    assert {name: bool(b64decode(pem)) for name, pem in made["data"].items()} == {"ca.crt": True, "ca.key": True}
