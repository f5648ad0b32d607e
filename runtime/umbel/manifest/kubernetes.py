"""Who takes part, and what only a cluster needs: resources, volumes, exposure. `umbel run` parses and ignores it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from umbel.manifest.scalars import DnsLabel, DnsName, LabelKey, LabelValue, Part, Quantity, SiloName

ResourceList = Annotated[Mapping[LabelKey, Quantity], Field(max_length=16)]


class Resources(Part):
    """As a container's resources in Kubernetes."""

    requests: ResourceList = Field(default_factory=dict, description="What has to be free on a node, by resource.")
    limits: ResourceList = Field(default_factory=dict, description="What may be used at most, by resource.")


class Silo(Part):
    """One participant, by name."""

    name: SiloName = Field(description="Name of the silo, a DNS label of at most 50 characters; unique in the job.")
    dataset: LabelValue = Field(description="Name of the data set there; the silo's site file maps it to a path.")
    resources: Resources = Field(default_factory=Resources, description="Resources of this silo's client.")


class SiloSelector(Part):
    """Participants by their labels at the start of the job."""

    match_labels: Mapping[LabelKey, LabelValue] = Field(
        min_length=1, max_length=16, description="Labels that a Silo must have."
    )
    dataset: LabelValue = Field(description="Name of the data set, the same at every silo.")


class SecretReference(Part):
    """A Secret of the job's namespace."""

    name: DnsName = Field(description="Name of the Secret.")


class GatewayReference(Part):
    """A Gateway that passes TLS through to the server."""

    name: DnsName = Field(description="Name of the Gateway.")
    namespace: DnsLabel | None = Field(default=None, description="Its namespace. Default: the job's.")
    section_name: DnsName | None = Field(default=None, description="Its listener. Default: any that fits.")


class CheckpointVolume(Part):
    """The volume of model and state."""

    size: Quantity = Field(default="10Gi", description="Size of the volume.")
    storage_class_name: DnsName | None = Field(default=None, description="StorageClass. Default: the cluster's.")
    access_modes: tuple[Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"], ...] = Field(
        default=("ReadWriteOnce",), min_length=1, max_length=3, description="Access modes of the volume."
    )


class Expose(Part):
    """How silos reach the server."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "Gateway"] = Field(
        default="ClusterIP", description="Type of the Service, or a Gateway in front of it."
    )
    host: DnsName | None = Field(
        default=None, description="Name that clients dial. Default: what the Service or Gateway says."
    )
    gateway_ref: GatewayReference | None = Field(default=None, description="The Gateway; type Gateway only.")


class Server(Part):
    """The server's pod."""

    resources: Resources = Field(default_factory=Resources, description="Resources of the server.")
    image_pull_secrets: tuple[SecretReference, ...] = Field(
        default=(), max_length=16, description="Secrets to pull the image."
    )
    checkpoint: CheckpointVolume = Field(default_factory=CheckpointVolume, description="The volume of model and state.")
    expose: Expose = Field(default_factory=Expose, description="How silos reach the server.")
