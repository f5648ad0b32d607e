"""The kubeconfig for the hub: which one counts, and where a renewed one goes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from umbel_operator.access import Access, AccessError, kubeconfig
from umbel_operator.agent import credentials
from umbel_operator.agent.credentials import HubCredentials

NOW = 1_800_000_000


def token(start: float, hours: float = 24) -> str:
    claims = json.dumps({"iat": start, "exp": start + hours * 3600, "sub": "system:serviceaccount:x:umbel-agent"})
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"


def write(path: Path, text: str) -> None:
    reach = Access("https://hub.example.org:6443", "PEM\n", text, namespace="umbel-silo-a", server_name="hub")
    path.write_text(credentials.written(reach))


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "given" / "hub.kubeconfig"
    path.parent.mkdir()
    write(path, token(NOW))
    return path


@pytest.fixture
def held(given: Path) -> Iterator[HubCredentials]:
    found = HubCredentials(given)
    yield found
    found.close()


def test_a_token_says_when_it_is_half_over() -> None:
    assert credentials.life(token(NOW)) == (NOW, NOW + 86_400)
    assert credentials.renew_at(token(NOW)) == NOW + 43_200


@pytest.mark.parametrize("text", [None, "", "opaque", "a.b.c", "e30.e30.x", "a.W10.c"])
def test_another_kind_of_token_is_not_renewed(text: str | None) -> None:
    assert credentials.renew_at(text) is None


def test_what_is_written_is_read_back(given: Path) -> None:
    found = kubeconfig(given)
    assert found == Access(
        "https://hub.example.org:6443", "PEM\n", token(NOW), namespace="umbel-silo-a", server_name="hub"
    )


def test_a_renewed_token_goes_into_the_file(given: Path, held: HubCredentials) -> None:
    before = held.stamp()
    held.renewed(token(NOW + 1000))
    assert kubeconfig(given).token == token(NOW + 1000)
    assert given.stat().st_mode & 0o777 == 0o600
    assert held.read().token == token(NOW + 1000)
    assert held.stamp() != before


def test_or_into_a_copy_where_the_file_cannot_be_written(
    given: Path, held: HubCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = credentials.write_private

    def read_only(path: Path, data: bytes) -> None:
        if path == given:
            raise OSError(30, "Read-only file system")
        writing(path, data)

    monkeypatch.setattr(credentials, "write_private", read_only)
    text = held.renewed(token(NOW + 1000))
    assert kubeconfig(given).token == token(NOW)
    assert held.read().token == token(NOW + 1000)
    assert token(NOW + 1000) in text


def test_of_file_and_copy_the_one_that_ends_later_counts(given: Path, held: HubCredentials, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    write(kept, token(NOW + 1000))
    held.adopt(kept.read_text())
    assert held.read().token == token(NOW + 1000)
    write(given, token(NOW + 2000))  # added again
    assert held.read().token == token(NOW + 2000)


def test_a_copy_serves_while_the_file_is_unreadable(given: Path, held: HubCredentials) -> None:
    held.adopt(given.read_text())
    given.unlink()
    assert held.read().token == token(NOW)


@pytest.mark.parametrize(
    ("owner", "reaching"),
    [
        ("user", {"exec": {"apiVersion": "v1", "command": "touch", "args": ["{mark}"]}}),
        ("user", {"auth-provider": {"name": "x", "config": {"cmd-path": "touch", "cmd-args": "{mark}"}}}),
        ("user", {"tokenFile": "{secret}"}),
        ("user", {"client-certificate": "{secret}"}),
        ("user", {"client-key": "{secret}"}),
        ("cluster", {"certificate-authority": "{secret}"}),
    ],
)
def test_what_the_hub_gives_runs_no_program_here_and_reads_no_file(
    given: Path, held: HubCredentials, tmp_path: Path, owner: str, reaching: dict[str, Any]
) -> None:
    mark, secret = tmp_path / "ran", tmp_path / "secret"
    secret.write_text("of the silo")
    config = yaml.safe_load(given.read_text())
    own = yaml.safe_load(yaml.safe_dump(reaching).replace("{mark}", str(mark)).replace("{secret}", str(secret)))
    config[f"{owner}s"][0][owner].update(own)
    for take in (given.write_text, held.adopt):
        take(yaml.safe_dump(config))
        with pytest.raises(AccessError, match=f"{next(iter(reaching))}: the hub's kubeconfig may run no program"):
            held.read()
    assert not mark.exists()
