"""The form of what an agent hears of a FederatedClient. The hub's API holds it to a CustomResourceDefinition, but whose
API that is, the hub decides: what is not of this form becomes no path, name, argument or line of a silo.

Fields that are not here are a later hub's, and passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from umbel.manifest.errors import shown
from umbel.manifest.scalars import (
    IMAGE,
    LABEL,
    OBJECT,
    DnsLabel,
    DnsName,
    LabelKey,
    LabelValue,
    Part,
    Quantity,
    SiloName,
    Whole,
)
from umbel.manifest.translate import faults_of

Desired = Literal["Running", "Suspended", "Finished"]

NAME_CHARACTERS = 63  # as in DnsLabel: the name of a FederatedClient is a label of what is made for it
SERVER = r"^grpcs://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"


def _server(url: str) -> str:
    """A host and a port, and nothing else: in a pod's arguments $(NAME) would be one of the silo's own variables."""
    found = re.fullmatch(SERVER, url)
    if found is None or (found[3] is not None and not 0 < int(found[3][1:]) < 65536):
        raise _wrong(f"{shown(url)} is not a server's address", "it is like grpcs://host:port")
    return url


def _image(name: str) -> str:
    """A pattern allows what an image is called, so that none is called by a way around."""
    if not all(part[:1].isalnum() for part in name.split("/")):
        raise _wrong(f"{shown(name)} is not an image reference", "each of its parts begins with a letter or digit")
    return name


def _wrong(fault: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("umbel", "{fault}; {remedy}", {"fault": fault, "remedy": remedy})


Pem = Annotated[str, Field(strict=True, max_length=65536)]
JobName = Annotated[str, Field(strict=True, max_length=40, pattern=LABEL)]
Amounts = Annotated[Mapping[LabelKey, Quantity], Field(max_length=16)]


class Heard(Part):
    model_config = ConfigDict(extra="ignore")


class Metadata(Heard):
    name: DnsLabel = Field(description="Of the FederatedClient.")
    namespace: DnsLabel = Field(description="Of the silo at the hub.")
    generation: Whole = Field(default=1, ge=0, description="Of the spec.")


class Job(Heard):
    name: JobName = Field(description="Name of the job.")
    namespace: DnsLabel = Field(description="Namespace of the job at the hub.")
    uid: DnsLabel = Field(description="UID of the job.")


class App(Heard):
    image: Annotated[str, AfterValidator(_image)] = Field(
        strict=True, max_length=512, pattern=IMAGE, description="Image of the client."
    )
    client: str = Field(strict=True, max_length=253, pattern=OBJECT, description="The umbel.Client.")


class Asked(Heard):
    requests: Amounts = Field(default_factory=dict, description="What has to be free.")
    limits: Amounts = Field(default_factory=dict, description="What may be used at most.")


class Privacy(Heard):
    min_cohort: Whole = Field(ge=1, le=1000, description="The fewest members of anything released.")
    min_examples: Whole = Field(ge=1, le=1_000_000_000_000, description="The fewest examples of anything released.")


class Address(Heard):
    url: Annotated[str, AfterValidator(_server)] = Field(strict=True, max_length=512, description="What to dial.")
    name: DnsName = Field(description="The DNS name in the server's certificate.")


class Spec(Heard):
    job: Job = Field(description="The FederatedJob that it belongs to.")
    silo: SiloName = Field(description="Name of the silo.")
    desired_state: Desired = Field(description="What the client should be doing.")
    trust_domain: DnsName = Field(description="Trust domain of the federation.")
    app: App = Field(description="The user's code.")
    dataset: LabelValue = Field(description="Name of the data set.")
    resources: Asked = Field(default_factory=Asked, description="What the job asks for.")
    privacy: Privacy = Field(description="The job's floors.")
    active_deadline_seconds: Whole = Field(ge=1, le=100_000_000, description="How long the job may be active.")
    server: Address | None = Field(default=None, description="Where the job's server is.")
    authorities: Pem = Field(default="", description="The certificates that the silo has to trust.")
    certificate: Pem = Field(default="", description="The silo's certificate.")


class Object(Heard):
    metadata: Metadata = Field(description="Of the FederatedClient.")
    spec: Spec = Field(description="What the silo is to do.")


def heard(obj: Mapping[str, Any]) -> Object:
    """Raises ValueError, with every fault in one line."""
    try:
        return Object.model_validate(obj)
    except ValidationError as error:
        raise ValueError("; ".join(f"{fault.field}: {fault.fault}" for fault in faults_of(error, Object))) from None


def is_name(name: str) -> bool:
    """Whether anything can have been made here for a FederatedClient of that name."""
    return len(name) <= NAME_CHARACTERS and re.fullmatch(LABEL, name) is not None


def status_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What this agent has told the hub, without what the hub does not give back as it was told."""
    found = obj.get("status")
    if not isinstance(found, Mapping):
        return {}
    told: dict[str, Any] = {}
    conditions, final = found.get("conditions"), found.get("finalModel")
    if isinstance(conditions, list):
        told["conditions"] = [entry for entry in conditions if _is_condition(entry)]
    if isinstance(final, Mapping) and _is_whole(final.get("round")):
        told["finalModel"] = {"round": final["round"]}
    if isinstance(found.get("certificateRequest"), str):
        told["certificateRequest"] = found["certificateRequest"]
    if _is_whole(found.get("observedGeneration")):
        told["observedGeneration"] = found["observedGeneration"]
    return told


def _is_condition(entry: object) -> bool:
    if not isinstance(entry, Mapping):
        return False
    texts = [entry.get(key) for key in ("type", "status", "reason")]
    texts += [entry.get(key, "") for key in ("message", "lastTransitionTime")]
    return all(isinstance(text, str) for text in texts)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
