"""pydantic's errors as faults of a manifest: what is wrong in words of the manifest, and what would be right."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from umbel.manifest.errors import Fault, kind, nearest, path_of, shown
from umbel.manifest.scalars import PATTERN_WORDS

Words = tuple[str, str]


def faults_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Fault]:
    """The faults of a manifest whose outermost part is ``model``."""
    errors = error.errors(include_url=False)
    for details in errors:
        location = details["loc"]
        # A list is also reported as too short when entries of it are wrong: those were not counted.
        if details["type"] == "too_short" and any(
            e["loc"][: len(location)] == location for e in errors if e != details
        ):
            continue
        if location[-1:] == ("[key]",):
            fault, remedy = _words(details, location, model)
            yield Fault(path_of(location[:-2]), f"the key {shown(details['input'])}: {fault}", remedy)
        else:
            yield Fault(path_of(location), *_words(details, location, model))


def _words(details: ErrorDetails, location: tuple[int | str, ...], model: type[BaseModel]) -> Words:
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "umbel":
            return context["fault"], context["remedy"]
        case "missing":
            owner = _model_at(model, location[:-1])
            return "is missing", f"add it: {_described(owner, str(location[-1]))}"
        case "extra_forbidden":
            owner = _model_at(model, location[:-1])
            return "unknown field", nearest(str(location[-1]), list(_fields(owner)))
        case "string_pattern_mismatch":
            fault, remedy = PATTERN_WORDS[context["pattern"]]
            return f"{shown(value)} {fault}", remedy
        case "literal_error":
            owner = _model_at(model, _without_index(location)[:-1])
            return _not_listed(value, _options(_fields(owner)[_without_index(location)[-1]].annotation))
    return _by_type(details["type"], value, context) or (details["msg"], "mend it")


def _not_listed(value: Any, options: list[str]) -> Words:
    if len(options) == 1:
        return f"is {shown(value)}", f"write {options[0]}"
    remedy = nearest(value, options) if isinstance(value, str) else "write one of them"
    return f"is {shown(value)}, not one of {', '.join(options)}", remedy


def _without_index(location: tuple[int | str, ...]) -> tuple[str, ...]:
    return tuple(step for step in location if isinstance(step, str))


def _options(annotation: Any) -> list[str]:
    """The words of the Literal inside a field's annotation."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for inner in get_args(annotation) for word in _options(inner)]


def _by_type(name: str, value: Any, context: Mapping[str, Any]) -> Words | None:
    words = WRONG_TYPE.get(name)
    if words is not None:
        return words(value)
    bound = BOUNDS.get(name)
    if bound is not None:
        fault, remedy, key = bound
        limit = shown(_tidy(context[key]))
        return f"{shown(value)} is {fault} {limit}", f"{remedy} {limit}"
    length = LENGTHS.get(name)
    if length is not None:
        unit, remedy, key = length
        return f"has {len(value)} {unit}", f"{remedy} {context[key]}"
    return None


BOUNDS: dict[str, tuple[str, str, str]] = {
    "greater_than_equal": ("less than", "use at least", "ge"),
    "less_than_equal": ("more than", "use at most", "le"),
    "greater_than": ("not more than", "use more than", "gt"),
    "less_than": ("not less than", "use less than", "lt"),
}
LENGTHS: dict[str, tuple[str, str, str]] = {
    "string_too_long": ("characters", "use at most", "max_length"),
    "string_too_short": ("characters", "use at least", "min_length"),
    "too_long": ("entries", "keep at most", "max_length"),
    "too_short": ("entries", "give at least", "min_length"),
}


def _not_text(value: Any) -> Words:
    if isinstance(value, bool):
        return f"{shown(value)} is a boolean, as are yes, no, on and off in YAML", "put it in quotes"
    if isinstance(value, dict | list | tuple):
        return f"is {kind(value)}", "write a string"
    return f"{shown(value)} is {kind(value)}", "put it in quotes"


def _not_whole(value: Any) -> Words:
    return f"{shown(value)} is {_plain_kind(value)}", "write a whole number, without quotes or fraction"


def _not_number(value: Any) -> Words:
    return f"{shown(value)} is {_plain_kind(value)}", "write a number, without quotes"


def _plain_kind(value: Any) -> str:
    return "not a whole number" if isinstance(value, float) else f"{kind(value)}, not a number"


def _not_mapping(value: Any) -> Words:
    return f"is {kind(value)}", "write a mapping (key: value)"


def _not_list(value: Any) -> Words:
    return f"is {kind(value)}", "write a list ([…], or lines that begin with -)"


WRONG_TYPE: dict[str, Callable[[Any], Words]] = {
    "string_type": _not_text,
    "int_type": _not_whole,
    "int_parsing_size": _not_whole,
    "float_type": _not_number,
    "finite_number": lambda value: (f"{value} is not finite", "use a finite number"),
    "bool_type": lambda value: (f"{shown(value)} is {kind(value)}", "write true or false"),
    "dict_type": _not_mapping,
    "mapping_type": _not_mapping,
    "model_type": _not_mapping,
    "tuple_type": _not_list,
}


def _tidy(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _model_at(model: type[BaseModel], location: Iterable[int | str]) -> type[BaseModel]:
    """The part of the manifest at ``location``; list indices and None alternatives are looked through."""
    for step in location:
        if isinstance(step, str):
            field = _fields(model)[step]
            model = next(_models_in(field.annotation))
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, tuple, Annotated):
        for inner in get_args(annotation):
            yield from _models_in(inner)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _described(model: type[BaseModel], key: str) -> str:
    return str(_fields(model)[key].description).rstrip(".")
