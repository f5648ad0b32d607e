"""The answers of a silo's administrator, each to one request as it was when he saw it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from umbel_operator.agent.approvals.request import Request

Verdict = Literal["Approved", "Denied"]


@dataclass(frozen=True, slots=True)
class Answer:
    """``by``: a user of the silo. ``at``: RFC 3339. ``note``: his own words; they stay in the silo."""

    fingerprint: str
    verdict: Verdict
    by: str
    at: str
    note: str = ""


Answers = Mapping[str, Answer]


def answers_text(answers: Answers) -> str:
    return json.dumps({name: asdict(answers[name]) for name in sorted(answers)}, indent=1)


def read_answers(text: str) -> dict[str, Answer]:
    """Raises ValueError: an answer that cannot be read approves nothing."""
    try:
        found = {str(name): Answer(**entry) for name, entry in json.loads(text or "{}").items()}
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
    if any(answer.verdict not in ("Approved", "Denied") for answer in found.values()):
        raise ValueError("a verdict is Approved or Denied")
    return found


def standing(request: Request, answers: Answers) -> Literal["Approved", "Denied", "Changed", "Waiting"]:
    """Changed: another request of that name was approved; this one was not. What was denied stays so, however it is
    changed: only the administrator takes it back."""
    answer = answers.get(request.name)
    if answer is None:
        return "Waiting"
    if answer.verdict == "Denied":
        return "Denied"
    return "Approved" if answer.fingerprint == request.fingerprint else "Changed"


def answered(
    answers: Answers, requests: Mapping[str, Request], name: str, verdict: Verdict, by: str, at: str, note: str
) -> dict[str, Answer]:
    """With one more answer; those to requests that are gone are dropped. Raises KeyError: there is no such request."""
    answer = Answer(requests[name].fingerprint, verdict, by, at, note)
    return {**{known: given for known, given in answers.items() if known in requests}, name: answer}
