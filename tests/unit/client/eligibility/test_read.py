"""Rules from a file or from the command line, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from umbel.client.eligibility.read import RulesError, rules_of

WINDOW = '{"windows": [{"opens": "22:00", "closes": "06:00"}]}'


def test_from_yaml_from_json_and_inline(tmp_path: Path) -> None:
    for number, text in enumerate((WINDOW, 'windows:\n  - {opens: "22:00", closes: "06:00"}\n')):
        file = tmp_path / str(number)
        file.write_text(text)
        assert rules_of(str(file)) == rules_of(WINDOW)


def test_an_empty_file_has_no_rules(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert rules_of(str(tmp_path / "empty")).windows == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"maxload": 1}', "--eligibility: maxload: unknown field; did you mean maxLoad?"),
        ('{"maxLoad": 1.5}', "--eligibility: maxLoad: 1.5 is more than 1; use at most 1"),
        (
            '{"onLoss": "Send"}',
            "--eligibility: onLoss: is 'Send', not one of SendPartial, Decline; use one of SendPartial, Decline",
        ),
        (
            '{"timeZone": "Berlin"}',
            "--eligibility: timeZone: 'Berlin' is not a time zone that this machine knows; write it like Europe/Berlin",
        ),
        (
            '{"timeZone": "../../etc/passwd"}',
            "--eligibility: timeZone: '../../etc/passwd' is not a time zone that this machine knows; "
            "write it like Europe/Berlin",
        ),
        (
            '{"windows": [{"opens": "22", "closes": "06:00"}]}',
            '--eligibility: windows[0].opens: \'22\' is not a time of day; write it like "22:00", up to "24:00"',
        ),
        (
            '{"windows": [{"opens": 1320, "closes": "06:00"}]}',
            "--eligibility: windows[0].opens: 1320 is a number; put it in quotes",
        ),
        (
            '{"windows": [{"opens": "00:00", "closes": "00:00"}]}',
            '--eligibility: windows[0]: opens and closes at the same time; write 00:00 and "24:00" for the whole day',
        ),
        (
            '{"unmeteredInterfaces": ["a b"]}',
            "--eligibility: unmeteredInterfaces[0]: 'a b' is not a pattern; "
            "write the name of a network interface, or a pattern like en*",
        ),
        (
            "/not/there",
            "/not/there: no such file; name a file like the section eligibility of a site file, "
            "or give it as {…} in JSON",
        ),
    ],
)
def test_faults_say_where_and_what_would_be_right(text: str, line: str) -> None:
    with pytest.raises(RulesError) as error:
        rules_of(text)
    assert str(error.value) == line


@pytest.mark.parametrize("text", ["{", "{]}"])
def test_what_is_no_yaml(text: str) -> None:
    with pytest.raises(RulesError, match=r"^--eligibility: is not YAML \(.*\); mend it there$"):
        rules_of(text)
