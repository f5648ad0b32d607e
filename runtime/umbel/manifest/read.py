"""From a file to a FederatedJob. YAML is read as `kubectl` reads it, so that one manifest means the same everywhere:
1e6 is a number, 10:30 is not, a key given twice is an error, 1.0 is the number 1."""

from __future__ import annotations

import datetime
import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError

from umbel.manifest.errors import Fault, JobError, kind, path_of, shown
from umbel.manifest.translate import faults_of
from umbel.manifest.whole import FederatedJob

MAX_BYTES = 1 << 20  # about what Kubernetes stores of one object
MAX_DEPTH = 32  # no field is a third as deep


def load(path: Path) -> FederatedJob:
    """The manifest at ``path``. Raises JobError, also for a file that cannot be read."""
    return parse(_document(path))


def parse(data: Mapping[str, Any]) -> FederatedJob:
    """A manifest that is already read. Raises JobError with every fault of its fields; `resolve` checks how they
    go together."""
    if not isinstance(data, Mapping):
        raise JobError(
            [Fault("the manifest", f"is {kind(data)}", "write a mapping with apiVersion, kind, metadata, spec")]
        )
    faults = [fault for key in data for fault in _check_key(key, ())]
    if isinstance(data.get("metadata"), Mapping):
        faults += [fault for key in data["metadata"] for fault in _check_key(key, ("metadata",))]
    plain = {key: _plain(value, ("spec",), faults, {}) if key == "spec" else value for key, value in data.items()}
    if faults:
        raise JobError(faults)
    try:
        return FederatedJob.model_validate(plain)
    except ValidationError as error:
        raise JobError(faults_of(error, FederatedJob)) from None


def _document(path: Path) -> Any:
    name = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise JobError([Fault(name, "is larger than 1 MiB", "name the manifest of a FederatedJob")])
        text = path.read_text("utf-8")
        return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except FileNotFoundError:
        fault = Fault(name, "no such file", "name the manifest of a FederatedJob")
    except OSError as error:
        fault = Fault(name, f"cannot be read ({error.strerror})", "name the manifest of a FederatedJob")
    except UnicodeDecodeError:
        fault = Fault(name, "is not UTF-8 text", "save it as UTF-8")
    except yaml.MarkedYAMLError as error:
        fault = Fault(name, _where(error), "mend the YAML there")
    except yaml.YAMLError as error:
        fault = Fault(name, f"is not YAML ({str(error).splitlines()[0]})", "mend the YAML")
    except RecursionError:
        fault = Fault(name, "is nested too deeply", "use the fields of a FederatedJob")
    except ValueError as error:  # from Python's own readers of numbers and dates
        fault = Fault(name, f"holds a value that cannot be read ({error})", "put it in quotes")
    raise JobError([fault])


def _where(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = " ".join((error.problem or error.context or "is not YAML").split())
    if "expected a single document" in (error.context or ""):
        problem = "a second document begins; one file holds one job"
    return place + problem


def _plain(value: Any, location: tuple[str | int, ...], faults: list[Fault], seen: dict[int, Any]) -> Any:
    """``value`` as JSON has it: string keys, lists, whole floats as integers. What YAML can say and JSON cannot goes
    to ``faults``. ``seen`` makes an anchor used often cost once, and finds one that holds itself."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping | list | tuple):
        if len(location) > MAX_DEPTH:
            faults.append(Fault(path_of(location), "is nested too deeply", "use the fields of a FederatedJob"))
            return None
        if id(value) in seen:
            if seen[id(value)] is None:
                faults.append(Fault(path_of(location), "holds itself", "write it out without a YAML alias"))
            return seen[id(value)]
        seen[id(value)] = None
        seen[id(value)] = _plain_container(value, location, faults, seen)
        return seen[id(value)]
    if isinstance(value, datetime.date):
        faults.append(Fault(path_of(location), f"{shown(value)} is a date in YAML", "put it in quotes"))
    elif value is not None and not isinstance(value, bool | int | str):
        faults.append(Fault(path_of(location), f"is {kind(value)}", "use a string, a number, a list or a mapping"))
    return value


def _plain_container(value: Any, location: tuple[str | int, ...], faults: list[Fault], seen: dict[int, Any]) -> Any:
    if isinstance(value, Mapping):
        faults += [fault for key in value for fault in _check_key(key, location)]
        return {key: _plain(inner, (*location, str(key)), faults, seen) for key, inner in value.items()}
    return [_plain(inner, (*location, number), faults, seen) for number, inner in enumerate(value)]


def _check_key(key: object, location: tuple[str | int, ...]) -> Iterator[Fault]:
    if isinstance(key, bool):
        fault = f"the key {shown(key)} is a boolean, as are yes, no, on and off in YAML"
        yield Fault(path_of(location), fault, "put the key in quotes")
    elif not isinstance(key, str):
        yield Fault(path_of(location), f"the key {shown(key)} is not a string", "put the key in quotes")


class _Loader(yaml.SafeLoader):
    """A safe loader that agrees with `kubectl` where YAML 1.1 and 1.2 differ, and refuses a key given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ConstructorError(None, None, f"the key {key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0|[1-9][0-9_]*|0o?[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
