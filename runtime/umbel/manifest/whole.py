"""The FederatedJob as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from umbel.manifest.app import App, Metadata, Model
from umbel.manifest.kubernetes import Server, Silo, SiloSelector
from umbel.manifest.rounds import MAX_METRICS, MAX_SILOS, Evaluation, Limits, Metric, Privacy, Rounds
from umbel.manifest.scalars import MANAGER, Flag, Part, Real, ShortKey, Whole

API_VERSION = "umbel.dev/v1alpha1"
KIND = "FederatedJob"


class Strategy(Part):
    """The update rule."""

    name: Annotated[str, Field(strict=True, min_length=1, max_length=253)] = Field(
        default="FedAvg", description="A built-in rule, or a class of the image as module:Class."
    )
    parameters: Mapping[ShortKey, Real] = Field(
        default_factory=dict, max_length=32, description="Numbers of the rule; what is left out has its default."
    )
    weighting: Literal["Examples", "Uniform"] | None = Field(
        default=None, description="Weights of the mean. Default: Examples, unless the strategy needs another."
    )


class Spec(Part):
    """What a job is to do."""

    app: App = Field(description="The user's code.")
    # 32 bits: what numpy's, scikit-learn's and torch's generators all take.
    seed: Whole = Field(
        default=0, ge=0, le=2**32 - 1, description="Of the initial model, the selection and the clients."
    )
    model: Model = Field(default_factory=Model, description="The model's beginning, its private part and its end.")
    strategy: Strategy = Field(default_factory=Strategy, description="The update rule.")
    rounds: Rounds = Field(default_factory=Rounds, description="The rounds of the job.")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="Evaluation rounds.")
    metrics: tuple[Metric, ...] = Field(
        default=(),
        max_length=MAX_METRICS + 1,
        description="The only names ever released: `loss`, from 0 to 100 unless listed, and at most 16 others.",
    )
    privacy: Privacy = Field(default_factory=Privacy, description="Floors below which nothing is released.")
    limits: Limits = Field(default_factory=Limits, description="What one member can bring at most.")
    silos: tuple[Silo, ...] = Field(default=(), max_length=MAX_SILOS, description="The participants; or siloSelector.")
    silo_selector: SiloSelector | None = Field(default=None, description="The participants by their labels; or silos.")
    server: Server = Field(default_factory=Server, description="The server's pod.")
    suspend: Flag = Field(
        default=False, description="Opens no round while true; the open one is abandoned, not counted."
    )
    active_deadline_seconds: Whole = Field(
        default=604_800, ge=1, le=10**8, description="Seconds of activity after which the job fails."
    )
    ttl_seconds_after_finished: Whole | None = Field(
        default=None, ge=0, le=2**31 - 1, description="Seconds after its end when the job is deleted. Default: never."
    )
    managed_by: Annotated[str, Field(strict=True, max_length=63, pattern=MANAGER)] | None = Field(
        default=None, description="Controller that reconciles the job in place of Umbel's, as domain/name."
    )


class FederatedJob(Part):
    """One federated training job."""

    api_version: Literal["umbel.dev/v1alpha1"] = Field(description="umbel.dev/v1alpha1.")
    kind: Literal["FederatedJob"] = Field(description="FederatedJob.")
    metadata: Metadata = Field(description="Name, namespace, labels, annotations.")
    spec: Spec = Field(description="What the job is to do.")
    status: Any = Field(default=None, description="Written by the operator; never read from a manifest.", exclude=True)
