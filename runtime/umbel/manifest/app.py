"""What is trained: the user's code, its model, and where both come from and go to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PlainValidator
from pydantic_core import PydanticCustomError

from umbel.manifest.errors import kind
from umbel.manifest.scalars import GLOB, IMAGE, LABEL, OBJECT, DnsLabel, DnsName, Flag, Part, ShortKey, Text, Uri

MAX_CONFIG = 64
MAX_CONFIG_TEXT = 4096
LOWEST, HIGHEST = -(2**63), 2**63 - 1024  # both are floats too, so that a CustomResourceDefinition can say them


def scalar(value: Any) -> bool | int | float | str:
    """One value of ``app.config``. Raises what the manifest's reader turns into a Fault."""
    fault = remedy = ""
    if not isinstance(value, bool | int | float | str):
        fault, remedy = f"is {kind(value)}", "use a number, a string or a boolean"
    elif isinstance(value, float) and not math.isfinite(value):
        fault, remedy = f"{value} is not finite", "use a finite number"
    elif isinstance(value, int | float) and not LOWEST <= value <= HIGHEST:
        fault, remedy = "does not fit into 64 bits", "use a smaller number or a string"
    elif isinstance(value, str) and len(value) > MAX_CONFIG_TEXT:
        fault, remedy = f"has {len(value)} characters", f"keep it to {MAX_CONFIG_TEXT}; put more into the image"
    if fault:
        raise PydanticCustomError("umbel", "{fault}; {remedy}", {"fault": fault, "remedy": remedy})
    return value  # type: ignore[no-any-return]


ConfigValue = Annotated[
    bool | int | float | str, PlainValidator(scalar, json_schema_input_type=bool | int | float | str)
]


class App(Part):
    """The user's code."""

    image: Annotated[str, Field(strict=True, max_length=512, pattern=IMAGE)] | None = Field(
        default=None, description="Image of server and clients, built from the client image; `umbel run` does without."
    )
    client: Annotated[str, Field(strict=True, max_length=253, pattern=OBJECT)] = Field(
        description="The umbel.Client, as module:object."
    )
    config: Mapping[ShortKey, ConfigValue] = Field(
        default_factory=dict,
        max_length=MAX_CONFIG,
        description="Scalars handed to every call of the client: numbers, strings, booleans.",
    )


class Initial(Part):
    """Where version 0 of the model comes from."""

    from_: Literal["App", "Checkpoint"] = Field(
        default="App",
        alias="from",
        description="App: its `initial`, run once at the server. Checkpoint: a file at `uri`.",
    )
    uri: Uri | None = Field(
        default=None, min_length=1, description="A safetensors file, by any fsspec URI; Checkpoint only."
    )


class Output(Part):
    """Where the final model goes."""

    uri: Uri = Field(default="", description="Any fsspec URI; empty: only to the model volume.")


class Model(Part):
    """The model's beginning, its private part and its end."""

    initial: Initial = Field(default_factory=Initial, description="Where version 0 comes from.")
    local_parameters: tuple[Annotated[str, Field(strict=True, max_length=253, pattern=GLOB)], ...] = Field(
        default=(), max_length=64, description="Patterns of parameter names that never leave a silo, like head.*."
    )
    output: Output = Field(default_factory=Output, description="Where the final model goes.")
    credentials_secret: DnsName | None = Field(
        default=None,
        description="Secret of the job's namespace with the credentials for the URIs of initial and output.",
    )
    retain: Flag = Field(default=True, description="The model volume outlives the job.")


class Metadata(Part):
    """The part of Kubernetes' ObjectMeta that Umbel reads; other keys are left alone."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(strict=True, max_length=40, pattern=LABEL)] = Field(
        description="Name of the job, a DNS label; short, as names of other objects are made from it."
    )
    namespace: DnsLabel = Field(default="default", description="Namespace of the job, a DNS label.")
    labels: Mapping[str, Text] = Field(default_factory=dict, description="Labels, as in Kubernetes.")
    annotations: Mapping[str, Text] = Field(default_factory=dict, description="Annotations, as in Kubernetes.")
