"""The site file: what a silo's administrator allows, and what his cluster needs. Unknown keys are errors."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from yaml.constructor import ConstructorError

from umbel.client.eligibility.rules import Rules
from umbel.manifest.errors import Fault, JobError, kind, shown
from umbel.manifest.kubernetes import ResourceList, Resources
from umbel.manifest.scalars import DnsName, Flag, LabelKey, LabelValue, Part, Quantity, SiloName, Text, Whole
from umbel.manifest.translate import faults_of
from umbel_operator.agent.batch.options import site_fault
from umbel_operator.agent.eligibility import unmeasurable
from umbel_operator.agent.site_relay import Relay

MAX_BYTES = 1 << 20
ADVICE = "name a silo's site file"
DEFAULT_RESOURCES = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "1", "memory": "2Gi"})


class SiteError(JobError):
    """A site file that cannot be used. Its text has one line for each fault."""


def _wrong(fault: str, remedy: str) -> PydanticCustomError:
    return PydanticCustomError("umbel", "{fault}; {remedy}", {"fault": fault, "remedy": remedy})


def _pattern(text: str) -> str:
    if not text or any(ord(c) <= 32 or ord(c) == 127 for c in text):
        raise _wrong(f"{shown(text)} is not a pattern", "write a name or a pattern like acme-*, without blanks")
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise _wrong(f"{shown(text)} is not a range of addresses ({error})", "write it like 10.1.0.0/16") from None


def _inside(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise _wrong(f"{shown(text)} is not a path inside the volume", "write it like scans/2026")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/") or "\0" in text or ".." in text.split("/"):
        raise _wrong(f"{shown(text)} is not an absolute path", "write it like /srv/umbel/venv/bin/python")
    return text


def _variable(text: str) -> str:
    if not text.replace("_", "a").isalnum() or text[0].isdigit() or not text.isascii():
        raise _wrong(f"{shown(text)} is not the name of a variable", "write it like HTTPS_PROXY")
    return text


Pattern = Annotated[str, Field(strict=True, min_length=1, max_length=512), AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=256)]
Cidr = Annotated[str, Field(strict=True, max_length=64), AfterValidator(_network)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
SubPath = Annotated[str, Field(strict=True, max_length=1024), AfterValidator(_inside)]
Variable = Annotated[str, Field(strict=True, min_length=1, max_length=253), AfterValidator(_variable)]
Folder = Annotated[str, Field(strict=True, min_length=1, max_length=4096), AfterValidator(_absolute)]
EVERY: tuple[str, ...] = ("*",)
BackendName = Literal["kubernetes", "process", "slurm"]


class Demands(Part):
    """What a job must declare at least in its spec.privacy."""

    min_cohort: Whole = Field(default=0, ge=0, le=1000, description="Least minCohort.")
    min_examples: Whole = Field(default=0, ge=0, description="Least minExamples.")


class Policy(Part):
    """What may run here. Everything else is refused."""

    approval: Literal["Manual", "Auto"] = Field(
        default="Manual", description="Manual: each job is approved first. Auto: what the policy allows runs at once."
    )
    images: Patterns = Field(default=(), description="Patterns of images; empty allows none.")
    require_digest: Flag = Field(default=True, description="Only images that are named by their digest.")
    clients: Patterns = Field(default=EVERY, description="Patterns of module:object.")
    namespaces: Patterns = Field(default=EVERY, description="Patterns of the hub's namespaces.")
    jobs: Patterns = Field(default=EVERY, description="Patterns of names of jobs.")
    max_seconds: Whole | None = Field(
        default=None, ge=1, description="Longest that one job may say it lasts, and longest that its client may run."
    )
    privacy: Demands = Field(default_factory=Demands, description="What a job must declare at least.")

    @model_validator(mode="after")
    def _written_out(self) -> Policy:
        missing = [name for name in ("clients", "namespaces", "jobs") if name not in self.model_fields_set]
        if self.approval == "Auto" and missing:
            raise _wrong(
                f"has approval Auto and no {', '.join(missing)}", "write out what runs unasked, ['*'] for everything"
            )
        if self.approval == "Manual" and not self.require_digest:
            words = "has requireDigest false under approval Manual: a tag may be another image than the one approved"
            raise _wrong(words, "leave it out, or write approval Auto")
        return self


class Dataset(Part):
    """A data set of this silo. Without a volume it is just a name."""

    volume_claim: DnsName | None = Field(default=None, description="PersistentVolumeClaim, mounted read-only.")
    sub_path: SubPath | None = Field(default=None, description="Folder of that volume.")
    path: Folder | None = Field(default=None, description="Where it lies, for clients that are no pods.")
    namespaces: Patterns = Field(default=EVERY, description="Patterns of the hub's namespaces that may use it.")
    jobs: Patterns = Field(default=EVERY, description="Patterns of names of jobs that may use it.")


class Toleration(Part):
    """As in a pod."""

    key: LabelKey | None = Field(default=None, description="The taint's key; none: every key.")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="How key and value match.")
    value: LabelValue | None = Field(default=None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; none: every effect."
    )
    toleration_seconds: Whole | None = Field(default=None, description="How long NoExecute is borne.")


class Pods(Part):
    """What the clients' pods need in this cluster."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When images are pulled."
    )
    image_pull_secrets: tuple[DnsName, ...] = Field(default=(), max_length=16, description="Secrets to pull images.")
    env: Mapping[Variable, Text] = Field(default_factory=dict, max_length=64, description="Environment variables.")
    node_selector: Mapping[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels that a node must have."
    )
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16, description="Taints that are borne.")
    runtime_class_name: DnsName | None = Field(default=None, description="RuntimeClass, for GPUs.")
    labels: Mapping[LabelKey, LabelValue] = Field(default_factory=dict, max_length=16, description="More labels.")
    annotations: Mapping[LabelKey, Text] = Field(default_factory=dict, max_length=16, description="Annotations.")
    defaults: Resources = Field(
        default=DEFAULT_RESOURCES, description="Resources where the job gives none, by resource."
    )
    ceilings: ResourceList = Field(default_factory=dict, description="The most that one client may have, by resource.")


class State(Part):
    """The volume of a client's private parameters and final model."""

    size: Quantity = Field(default="1Gi", description="Size of the volume.")
    storage_class_name: DnsName | None = Field(default=None, description="StorageClass. Default: the cluster's.")
    access_modes: tuple[Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"], ...] = Field(
        default=("ReadWriteOnce",), min_length=1, max_length=3, description="Access modes of the volume."
    )


class Egress(Part):
    """Addresses that clients may reach besides the server and the name service."""

    cidr: Cidr = Field(description="Range of addresses.")
    ports: tuple[Port, ...] = Field(default=(), max_length=32, description="TCP ports; empty: all of them.")


class Network(Part):
    """Openings of the clients' NetworkPolicy."""

    egress: tuple[Egress, ...] = Field(default=(), max_length=32, description="More addresses.")


class Process(Part):
    """How clients run as plain processes."""

    python: Folder = Field(description="Python of a virtual environment with umbel and what the jobs import.")
    app_path: tuple[Folder, ...] = Field(default=(), max_length=32, description="Folders of the jobs' modules.")
    environment: Mapping[Variable, Text] = Field(
        default_factory=dict, max_length=64, description="Environment variables."
    )
    grace_seconds: Annotated[Whole, Field(ge=1, le=3600)] = Field(
        default=15, description="From TERM to KILL, when a client is stopped."
    )


class Apptainer(Part):
    """The job's own image, run by Apptainer."""

    program: Folder = Field(default="/usr/bin/apptainer", description="Apptainer's program on the compute nodes.")
    images: Mapping[str, Folder] = Field(
        default_factory=dict, max_length=256, description="Files for images; others are pulled by their name."
    )
    options: tuple[Text, ...] = Field(default=(), max_length=32, description="More options of apptainer exec.")


class Slurm(Part):
    """How clients run as jobs of a batch scheduler. The options are the site's: a job at the hub chooses none."""

    partition: LabelValue | None = Field(default=None, description="Partition. Default: the site's.")
    account: LabelValue | None = Field(default=None, description="Account. Default: the user's.")
    qos: LabelValue | None = Field(default=None, description="Quality of service. Default: the user's.")
    options: Mapping[str, Text] = Field(
        default_factory=dict, max_length=32, description="More options of sbatch, without dashes."
    )
    time_limit_seconds: Annotated[Whole, Field(ge=60, le=31_536_000)] = Field(
        default=86_400, description="Of one Slurm job; another follows while the job goes on."
    )
    term_seconds: Annotated[Whole, Field(ge=1, le=3600)] = Field(
        default=180, description="From TERM to the time limit, for the client to stop."
    )
    pending_timeout_seconds: Annotated[Whole, Field(ge=60, le=31_536_000)] = Field(
        default=86_400, description="Queued for longer, the hub is told so."
    )
    python: Folder | None = Field(default=None, description="Python of a virtual environment that every node sees.")
    container: Apptainer | None = Field(default=None, description="Instead of python: the job's image.")
    app_path: tuple[Folder, ...] = Field(default=(), max_length=32, description="Folders of the jobs' modules.")
    environment: Mapping[Variable, Text] = Field(
        default_factory=dict, max_length=64, description="Environment variables."
    )
    rank_host: DnsName | None = Field(
        default=None, description="How the ranks of a client reach the first. Default: by its node's name."
    )
    relay: Relay | None = Field(default=None, description="For compute nodes that have no route to the jobs' servers.")

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Slurm:
        if (self.python is None) == (self.container is None):
            raise _wrong("has both or none of python and container", "give exactly one of the two")
        return self

    @field_validator("options")
    @classmethod
    def _allowed(cls, options: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in options.items():
            if (fault := site_fault(name, value)) is not None:
                raise _wrong(f"{name} {fault}", "take it out, or mend it")
            if name in ("partition", "account", "qos"):
                raise _wrong(f"has {name}", f"write it beside options, as slurm.{name}")
        return options


class Site(Part):
    """One silo's site file."""

    silo: SiloName = Field(description="Name of the silo, as the hub knows it.")
    policy: Policy = Field(default_factory=Policy, description="What may run here.")
    datasets: Mapping[str, Dataset] = Field(default_factory=dict, description="Data sets by name.")
    pods: Pods = Field(default_factory=Pods, description="What the clients' pods need.")
    state: State = Field(default_factory=State, description="Volumes for the clients' state.")
    retain_state: Flag = Field(default=True, description="State volumes stay until the administrator removes them.")
    network: Network = Field(default_factory=Network, description="Openings of the clients' NetworkPolicy.")
    eligibility: Rules | None = Field(default=None, description="When clients take part; without it always.")
    process: Process | None = Field(default=None, description="How clients run as plain processes.")
    slurm: Slurm | None = Field(default=None, description="How clients run as Slurm jobs.")


EVERYWHERE = {"defaults", "ceilings"}  # of `pods`: what clients get, however they run


class _Names(Part):
    names: tuple[LabelValue, ...] = Field(default=(), max_length=256, description="Names of data sets.")


def load(path: Path, backend: BackendName | None = None) -> Site:
    """Raises SiteError, also for a file that cannot be read, or that is for another backend."""
    found = parse(_document(path))
    if backend is not None:
        check_backend(found, backend)
    return found


def check_backend(site: Site, backend: BackendName) -> None:
    """Raises SiteError for what ``backend`` lacks, and for what means nothing to it."""
    pod = backend == "kubernetes"
    contained = pod or (backend == "slurm" and site.slurm is not None and site.slurm.container is not None)
    faults = [*_foreign(site, backend), *_foreign_datasets(site, backend)]
    faults += unmeasurable(site.eligibility, own_network=pod, own_devices=contained)
    if backend != "kubernetes" and getattr(site, backend) is None:
        faults.append(Fault(backend, "is missing", f"add it: the backend {backend} needs it"))
    if faults:
        raise SiteError(faults)


def _foreign(site: Site, backend: BackendName) -> Iterator[Fault]:
    given = site.model_fields_set
    own = {"kubernetes": ("state", "network"), "process": ("process",), "slurm": ("slurm",)}
    for other, sections in own.items():
        for section in sections if other != backend else ():
            if section in given:
                yield Fault(section, f"means nothing to the backend {backend}", "take it out")
    for name in sorted(site.pods.model_fields_set - EVERYWHERE) if backend != "kubernetes" else ():
        field = Pods.model_fields[name].alias or name
        yield Fault(f"pods.{field}", f"means nothing to the backend {backend}", "take it out")


def _foreign_datasets(site: Site, backend: BackendName) -> Iterator[Fault]:
    for name, dataset in site.datasets.items():
        if backend == "kubernetes" and dataset.path is not None:
            yield Fault(f"datasets.{name}.path", "is of no use in a pod", "give volumeClaim")
        elif backend != "kubernetes" and dataset.volume_claim is not None:
            yield Fault(f"datasets.{name}.volumeClaim", f"is of no use to the backend {backend}", "give path")


def parse(data: Any) -> Site:
    """A site file that is already read. Raises SiteError with every fault."""
    if not isinstance(data, Mapping):
        raise SiteError([Fault("the site file", f"is {kind(data)}", "write a mapping with silo, policy, datasets")])
    faults: list[Fault] = []
    listed = data.get("datasets")
    datasets = _datasets(listed, faults)
    rest = {key: value for key, value in data.items() if key != "datasets" or not isinstance(listed, Mapping)}
    try:
        site = Site.model_validate(rest)
    except ValidationError as error:
        faults[:0] = faults_of(error, Site)
    if faults:
        raise SiteError(faults)
    return site.model_copy(update={"datasets": datasets})


def _datasets(listed: Any, faults: list[Fault]) -> dict[str, Dataset]:
    """Each on its own: the words for a fault are found by its place among a model's fields, not among names."""
    if not isinstance(listed, Mapping):
        return {}
    found = {}
    for name, value in listed.items():
        try:
            _Names.model_validate({"names": [name]})
            found[name] = Dataset.model_validate({} if value is None else value)
            if found[name].sub_path is not None and found[name].volume_claim is None:
                faults.append(Fault(f"datasets.{name}.subPath", "is given without a volume", "give volumeClaim too"))
        except ValidationError as error:
            if error.title == "_Names":
                fault = next(faults_of(error, _Names))
                faults.append(Fault("datasets", f"the key {fault.fault}", fault.remedy))
            else:
                faults += [
                    Fault(f"datasets.{name}" + ("" if f.field == "the manifest" else f".{f.field}"), f.fault, f.remedy)
                    for f in faults_of(error, Dataset)
                ]
    if len(found) > 256:
        faults.append(Fault("datasets", f"has {len(found)} entries", "keep at most 256"))
    return found


def _document(path: Path) -> Any:
    name = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SiteError([Fault(name, "is larger than 1 MiB", ADVICE)])
        return yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except FileNotFoundError:
        fault = Fault(name, "no such file", ADVICE)
    except OSError as error:
        fault = Fault(name, f"cannot be read ({error.strerror})", ADVICE)
    except UnicodeDecodeError:
        fault = Fault(name, "is not UTF-8 text", "save it as UTF-8")
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        fault = Fault(name, f"is not YAML ({' '.join(str(error).split())})", "mend the YAML there")
    raise SiteError([fault])


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice: of two policies the second would win unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ConstructorError(None, None, f"the key {key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
