"""The command line of a client that no container holds."""

from __future__ import annotations

from pathlib import Path

from unit.operator.agent.silo import client, site_file

from umbel.cli.client import client_command
from umbel.client.eligibility.read import rules_of
from umbel_operator.agent.backends.local.command import arguments
from umbel_operator.agent.federatedclient import Server

SERVER = Server("grpcs://203.0.113.9:30443", "digits.default.umbel.internal")
SECTION = {"timeZone": "Europe/Berlin", "windows": [{"days": ["Sat"], "opens": "00:00", "closes": "24:00"}]}


def test_the_sites_rules_of_eligibility_reach_the_client() -> None:
    site = site_file(eligibility=SECTION)
    first, *words = arguments(client(), site, SERVER, Path("/x"), None, (), 15)
    known = {option for parameter in client_command.params for option in parameter.opts}
    given = dict(word.split("=", 1) for word in words)
    assert first == "client"
    assert given.keys() <= known
    assert rules_of(given["--eligibility"]) == site.eligibility


def test_a_site_without_rules_asks_nothing_new_of_a_client() -> None:
    """It may be of an older version, which has no such option."""
    words = arguments(client(), site_file(), SERVER, Path("/x"), None, (), 15)
    assert not any("eligibility" in word for word in words)
