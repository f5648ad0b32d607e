"""An address may hold a password; what is said of it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from umbel.server import output
from umbel.server.output import OutputError


@pytest.mark.parametrize("scheme", ["nosuch", "abfs"])
def test_a_user_and_a_password_in_an_address_are_not_repeated(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "model").write_bytes(b"")
    for act in (lambda uri: output.export(tmp_path / "model", uri), output.fetch):
        with pytest.raises(OutputError) as raised:
            act(f"{scheme}://user:canary@bucket/folder/key")
        assert "canary" not in str(raised.value)
        assert f"{scheme}://bucket/folder/key" in str(raised.value)


def test_an_at_sign_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nosuch://bucket/a@b"):
        output.fetch("nosuch://bucket/a@b")
