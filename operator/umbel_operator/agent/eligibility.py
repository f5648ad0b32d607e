"""The site file's section ``eligibility``: handed to each client, which decides by it. The agent does not."""

from __future__ import annotations

from collections.abc import Iterator

from umbel.client.eligibility.rules import Rules
from umbel.manifest.errors import Fault


def arguments(rules: Rules | None) -> list[str]:
    """Of ``umbel client``."""
    if rules is None:
        return []
    return [f"--eligibility={rules.model_dump_json(by_alias=True, exclude_defaults=True)}"]


def unmeasurable(rules: Rules | None, *, own_network: bool, own_devices: bool) -> Iterator[Fault]:
    """What a client in a container cannot see of its machine: with a network of its own, with devices of its own."""
    if rules is None:
        return
    if own_devices and rules.idle_seconds is not None:
        yield Fault("eligibility.idleSeconds", "cannot be measured in a container", "take it out, or give maxLoad")
    if own_network and rules.unmetered_interfaces:
        yield Fault("eligibility.unmeteredInterfaces", "cannot be measured in a pod", "take it out")
