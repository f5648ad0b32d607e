"""From ``umbel client --eligibility`` to the guard of this machine."""

from __future__ import annotations

from umbel.client.eligibility.decision import hindrance
from umbel.client.eligibility.guard import Guard
from umbel.client.eligibility.machine import Machine
from umbel.client.eligibility.read import rules_of


def guard_of(argument: str) -> Guard:
    """Raises RulesError."""
    rules = rules_of(argument)
    machine = Machine(load=rules.max_load is not None)
    return Guard(lambda: hindrance(rules, machine.look()), partial=rules.on_loss == "SendPartial")
