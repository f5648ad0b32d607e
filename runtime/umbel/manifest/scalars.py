"""Kinds of field that several parts share, each with the words for a value that does not fit.

Patterns are written in the common subset of Rust's and Go's regular expressions: a CustomResourceDefinition uses the
same text. Nothing here needs more than an OpenAPI structural schema can say.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic.alias_generators import to_camel

LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
OBJECT = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
METRIC = r"^[A-Za-z][A-Za-z0-9_.-]*$"
QUANTITY = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
IMAGE = r"^[A-Za-z0-9][A-Za-z0-9._/:-]*(@sha256:[0-9a-f]{64})?$"
URI = r"^[^\x00-\x20\x7f]*$"
GLOB = r"^[^\x00-\x20\x7f]+$"
MANAGER = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9._~-]+$"

PATTERN_WORDS = {
    LABEL: (
        "is not a DNS label",
        "use lower-case letters, digits and '-', beginning and ending with a letter or digit",
    ),
    SUBDOMAIN: ("is not a DNS name", "use lower-case letters, digits, '-' and '.'"),
    LABEL_VALUE: (
        "is not a name",
        "use letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    ),
    LABEL_KEY: ("is not a label's key", "write it like name or example.org/name"),
    OBJECT: ("is not of the form module:object", "write it like my_package.client:app"),
    METRIC: ("is not a metric's name", "use letters, digits, '_', '-' and '.', beginning with a letter"),
    QUANTITY: ("is not a quantity", "write it like 500m, 2 or 10Gi"),
    IMAGE: ("is not an image reference", "write it like registry.example.org/team/app@sha256:<64 hex digits>"),
    URI: ("is not a URI", "write it without blanks, like s3://bucket/model.safetensors"),
    GLOB: ("is not a pattern of parameter names", "write it without blanks, like head.*"),
    MANAGER: ("is not a controller's name", "write it like example.org/controller"),
}

Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]


def tidy(number: float) -> float:
    """As a person writes it: 60 rather than 60.0."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


Real = Annotated[float, Field(strict=True, allow_inf_nan=False), PlainSerializer(tidy, return_type=Any)]

DnsLabel = Annotated[str, Field(strict=True, max_length=63, pattern=LABEL)]
SiloName = Annotated[str, Field(strict=True, max_length=50, pattern=LABEL)]  # with a prefix it names a namespace
DnsName = Annotated[str, Field(strict=True, max_length=253, pattern=SUBDOMAIN)]
LabelValue = Annotated[str, Field(strict=True, max_length=63, pattern=LABEL_VALUE)]
ShortKey = Annotated[str, Field(strict=True, min_length=1, max_length=63)]
LabelKey = Annotated[str, Field(strict=True, max_length=317, pattern=LABEL_KEY)]
Uri = Annotated[str, Field(strict=True, max_length=1024, pattern=URI)]


def _whole_quantity(value: Any) -> Any:
    """A quantity may be given as a whole number of 64 bits, as in the Kubernetes API; 0.5 has to be a string there."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value < 2**63 else value


Quantity = Annotated[str, Field(strict=True, max_length=32, pattern=QUANTITY), BeforeValidator(_whole_quantity)]


class Part(BaseModel):
    """A mapping of the manifest: unknown keys are refused, and one given as null counts as absent."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, regex_engine="rust-regex", hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if value is not None or key not in known}
