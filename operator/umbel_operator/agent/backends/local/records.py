"""What is written down of a client and of its attempts. An agent that starts knows no more than this."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from umbel_operator.agent.federatedclient import FederatedClient, Server


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose folder it is. ``retained``: nobody asks for it, and its state is meant to stay."""

    client: str
    job: str
    job_namespace: str
    job_uid: str
    retained: bool = False

    @staticmethod
    def of(client: FederatedClient) -> Owner:
        return Owner(client.name, client.job.name, client.job.namespace, client.job.uid)

    @property
    def folder(self) -> str:
        """With the job's uid: a new job of the same name never finds the old one's state."""
        return f"{self.client}-{self.job_uid}"

    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @staticmethod
    def parse(text: str) -> Owner | None:
        found = _mapping(text)
        client, job, namespace, uid = (found.get(name) for name in ("client", "job", "job_namespace", "job_uid"))
        if not all(isinstance(name, str) for name in (client, job, namespace, uid)):
            return None
        return Owner(str(client), str(job), str(namespace), str(uid), found.get("retained") is True)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a client. It is written down before it is made: what carries another token is not to run.

    ``number`` counts from 1. ``digest``: of what it was started as. ``failures``: in a row, before it. ``last``: exit
    code of the one before. ``stopping``: since when it is meant to end. ``job``: a scheduler's id of it, once known.
    ``refused`` and ``words``: why a scheduler will never run it.
    """

    token: str
    number: int
    started: float
    server: Server
    digest: str
    failures: int = 0
    last: int | None = None
    stopping: float | None = None
    job: str = ""
    refused: str = ""
    words: str = ""

    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @staticmethod
    def parse(text: str) -> Attempt | None:
        try:
            found = _mapping(text)
            return Attempt(**{**found, "server": Server(**found["server"])})
        except (KeyError, TypeError):
            return None


def _mapping(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
