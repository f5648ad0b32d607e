"""What `umbel agent check` says of a silo that is not whole."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.operator.agent.silo import site_file
from unit.operator.api_fake import Api

from umbel_operator.access import Access, AccessError
from umbel_operator.agent import check, credentials
from umbel_operator.agent.credentials import HubCredentials
from umbel_operator.agent.join import Membership
from umbel_operator.kube import ApiError, Kube

HERE = "clients"
KUBECONFIG = credentials.written(Access("https://hub.example.org:6443", None, "t", namespace="umbel-silo-hospital-a"))
JOINS = ("hospital-a", "https://hub.example.org:8444", "umbel.local", "authorities", "key", "digest")
MEMBER = Membership(*JOINS, "certificate", KUBECONFIG)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[HubCredentials]:
    found = HubCredentials(tmp_path / "hub.kubeconfig")
    yield found
    found.close()


def raising(error: Exception) -> Any:
    async def call(*_: object, **__: object) -> Any:
        raise error

    return call


def test_a_policy_that_allows_nothing_is_told() -> None:
    assert check.policy(site_file()) == ("the policy", "")
    nothing = site_file(policy={"images": [], "requireDigest": True})
    assert check.policy(nothing)[1] == "allows no image: name patterns in policy.images"


# ---- joining


def keeping(text: str) -> Api:
    silo = Api()
    silo.put("Secret", "umbel-hub", HERE, data={"membership.json": base64.b64encode(text.encode()).decode()})
    return silo


async def test_a_silo_that_joined_has_its_access_in_the_credentials(held: HubCredentials) -> None:
    look = await check.joined(keeping(MEMBER.text()), HERE, "umbel-hub", held)  # type: ignore[arg-type]
    assert look == ("joining", "")
    assert held.read().server == "https://hub.example.org:6443"


@pytest.mark.parametrize("silo", [Api(), keeping(MEMBER.left().text())])
async def test_a_silo_that_has_not_joined_or_was_removed(held: HubCredentials, silo: Api) -> None:
    look = await check.joined(silo, HERE, "umbel-hub", held)  # type: ignore[arg-type]
    assert look == ("joining", "this silo has not joined the hub, or was removed; the agent's log says why")


async def test_a_membership_that_cannot_be_read(held: HubCredentials) -> None:
    spoilt = await check.joined(keeping("{"), HERE, "umbel-hub", held)  # type: ignore[arg-type]
    assert spoilt[1].startswith("Secret umbel-hub: is not what an agent has kept there")
    silo = Api()
    silo.get = raising(ApiError(403, "Forbidden", "no"))  # type: ignore[method-assign]
    assert await check.joined(silo, HERE, "umbel-hub", held) == ("joining", "403 Forbidden: no")  # type: ignore[arg-type]


# ---- the hub


async def test_a_hub_that_answers(held: HubCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    held.path.write_text(KUBECONFIG)
    asked = []

    async def some(_: Kube, kind: Any, namespace: str) -> list[Any]:
        asked.append((kind.kind, namespace))
        return []

    monkeypatch.setattr(Kube, "list", some)
    assert await check.hub(held) == ("the hub", "")
    assert asked == [("FederatedClient", "umbel-silo-hospital-a")]


@pytest.mark.parametrize("error", [ApiError(401, "Unauthorized", "no"), AccessError("kubeconfig: is a folder")])
async def test_a_hub_that_does_not(held: HubCredentials, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    held.path.write_text(KUBECONFIG)
    monkeypatch.setattr(Kube, "list", raising(error))
    assert await check.hub(held) == ("the hub", f"https://hub.example.org:6443: {error}")


async def test_a_kubeconfig_that_is_not_there(held: HubCredentials) -> None:
    look = await check.hub(held)
    assert look[0] == "the hub"
    assert str(held.path) in look[1]


async def test_authorities_that_are_none(held: HubCredentials) -> None:
    """It is found only when the connection is made."""
    held.path.write_text(credentials.written(Access("https://hub.example.org:6443", "no certificate", "t")))
    look = await check.hub(held)
    assert look[0] == "the hub"
    assert look[1]


# ---- volumes


SITE = site_file(
    datasets={
        "bound": {"volumeClaim": "bound"},
        "named": {},
        "waits": {"volumeClaim": "waits"},
        "lost": {"volumeClaim": "lost"},
        "absent": {"volumeClaim": "absent"},
    }
)


async def test_volumes() -> None:
    silo = Api()
    for name, phase in (("bound", "Bound"), ("waits", "Pending"), ("lost", "Lost")):
        silo.put("PersistentVolumeClaim", name, HERE, status={"phase": phase})
    assert {look async for look in check.volumes(silo, HERE, SITE)} == {  # type: ignore[arg-type]
        ("the volume of data set bound", ""),
        ("the volume of data set waits (PersistentVolumeClaim waits is Pending, not Bound yet)", ""),
        ("the volume of data set lost", "PersistentVolumeClaim lost has lost its volume"),
        ("the volume of data set absent", f"there is no PersistentVolumeClaim absent in namespace {HERE}"),
    }


async def test_volumes_that_may_not_be_read_are_each_told() -> None:
    silo = Api()
    silo.get = raising(ApiError(403, "Forbidden", "no"))  # type: ignore[method-assign]
    found = [look async for look in check.volumes(silo, HERE, SITE)]  # type: ignore[arg-type]
    assert [fault for _, fault in found] == ["403 Forbidden: no"] * 4
