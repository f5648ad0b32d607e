"""FederatedClients of hubs that are newer than this agent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from unit.operator.agent.silo import federated_client

from umbel_operator.agent.federatedclient import read


def test_fields_of_a_later_hub_are_passed_over() -> None:
    plain = federated_client()
    later = copy.deepcopy(plain)
    for place in (later, later["metadata"], later["spec"], *(later["spec"][k] for k in ("job", "app", "server"))):
        place["ofTomorrow"] = {"deep": [1]}
    assert read(later) == read(plain)


@pytest.mark.parametrize("field", ["job", "silo", "trustDomain", "app", "activeDeadlineSeconds"])
def test_one_without_what_is_needed_is_not_understood(field: str) -> None:
    lacking = federated_client()
    del lacking["spec"][field]
    with pytest.raises(ValueError, match=f"KeyError: '{field}'"):
        read(lacking)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"job": "digits"}, "TypeError"),
        ({"app": ["x"]}, "AttributeError"),
        ({"server": "grpcs://x"}, "AttributeError"),
        ({"desiredState": "Hibernating"}, "desiredState: 'Hibernating' is not one of Running, Suspended, Finished"),
    ],
)
def test_one_that_says_it_otherwise_is_not_understood(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(federated_client(**spec))
