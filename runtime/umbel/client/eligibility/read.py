"""Rules as ``umbel client --eligibility`` takes them: a file in YAML or JSON, or the JSON itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from umbel.client.eligibility.rules import Rules
from umbel.manifest.errors import Fault, JobError
from umbel.manifest.translate import faults_of

MAX_BYTES = 1 << 20
ADVICE = "name a file like the section eligibility of a site file, or give it as {…} in JSON"


class RulesError(JobError):
    """Rules that cannot be used. Its text has one line for each fault."""


def rules_of(argument: str) -> Rules:
    """Raises RulesError, also for a file that cannot be read."""
    name, text = ("--eligibility", argument) if argument.lstrip().startswith("{") else (argument, _text(Path(argument)))
    try:
        data: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RulesError([Fault(name, f"is not YAML ({' '.join(str(error).split())})", "mend it there")]) from None
    try:
        return Rules.model_validate({} if data is None else data)
    except ValidationError as error:
        raise RulesError(_named(fault, name) for fault in faults_of(error, Rules)) from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            fault = Fault(str(path), "is larger than 1 MiB", ADVICE)
        else:
            return path.read_text("utf-8")
    except FileNotFoundError:
        fault = Fault(str(path), "no such file", ADVICE)
    except OSError as error:
        fault = Fault(str(path), f"cannot be read ({error.strerror})", ADVICE)
    except UnicodeDecodeError:
        fault = Fault(str(path), "is not UTF-8 text", "save it as UTF-8")
    raise RulesError([fault])


def _named(fault: Fault, name: str) -> Fault:
    field = name if fault.field == "the manifest" else f"{name}: {fault.field}"
    return Fault(field, fault.fault, fault.remedy)
