"""How rounds go: their number, their members, their clocks, when they end early, and what is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from umbel.manifest.scalars import METRIC, Flag, Part, Real, Whole

MAX_SILOS = 1000
MAX_METRICS = 16
DAY = 86_400

MetricName = Annotated[str, Field(strict=True, max_length=63, pattern=METRIC)]


class Plateau(Part):
    """Ends a job whose metric stands still, whichever direction is the better one."""

    patience: Whole = Field(ge=1, le=10_000, description="Evaluations in a row with nothing new that end the job.")
    min_delta: Real = Field(
        default=0.0, ge=0, description="A value is new when it is more than this beyond all earlier ones."
    )


class StopWhen(Part):
    """Ends a job by an evaluation metric; empty: only `total` ends it. Exactly one of the three goes with `metric`."""

    metric: MetricName | None = Field(default=None, description="`loss` or a name of spec.metrics.")
    at_least: Real | None = Field(default=None, description="Ends the job when the metric has reached this value.")
    at_most: Real | None = Field(default=None, description="Ends the job when the metric has come down to this value.")
    plateau: Plateau | None = Field(default=None, description="Ends the job when the metric stands still.")


class Rounds(Part):
    """The rounds of a job."""

    total: Whole = Field(
        default=50, ge=0, le=100_000, description="Committed rounds; 0: evaluate the initial model and end."
    )
    updates: Whole | None = Field(
        default=None, ge=1, le=MAX_SILOS, description="Updates wanted in a round. Default: the silos."
    )
    quorum: Whole | None = Field(
        default=None,
        ge=1,
        le=MAX_SILOS,
        description="Updates enough to commit at the deadline. Default: 2/3 of `updates`, at least privacy.minCohort.",
    )
    timeout_seconds: Whole = Field(
        default=600, ge=1, le=7 * DAY, description="From the opening of a round to its deadline."
    )
    gather_seconds: Whole = Field(
        default=60,
        ge=0,
        le=DAY,
        description="How long an opening waits for `updates` members before the quorum is enough.",
    )
    grace_seconds: Real | None = Field(
        default=None, ge=0, description="Notice before the deadline. Default: a tenth of the timeout, between 1 and 60."
    )
    partial_updates: Literal["Rescale", "AsIs", "Refuse"] | None = Field(
        default=None,
        description="What becomes of unfinished work. Default: Rescale, unless the strategy needs another.",
    )
    rescale_cap: Real = Field(
        default=4.0, ge=1, le=100, description="The most that a partial update is multiplied with."
    )
    over_selection: Real | None = Field(
        default=None, ge=1, le=10, description="Invitations per update wanted. Default: from the return rate."
    )
    selection: Literal["Uniform", "ByExamples"] | None = Field(
        default=None, description="Chances of being invited. Default: Uniform, unless the strategy needs another."
    )
    max_consecutive_abandoned: Whole = Field(
        default=3, ge=1, le=1000, description="Rounds abandoned one after the other that fail the job."
    )
    stop_when: StopWhen = Field(default_factory=StopWhen, description="Ends the job before `total` rounds.")


class Evaluation(Part):
    """Evaluation rounds."""

    every_rounds: Whole = Field(
        default=1, ge=0, le=100_000, description="Evaluate after every so many rounds; 0: never."
    )
    timeout_seconds: Whole = Field(default=120, ge=1, le=7 * DAY, description="The most that an evaluation takes.")


class Metric(Part):
    """A number that clients may report and the server may release, clipped to its range."""

    name: MetricName = Field(description="Name of the metric, as the client reports it.")
    min: Real = Field(ge=-1e12, le=1e12, description="Smaller values count as this.")
    max: Real = Field(ge=-1e12, le=1e12, description="Larger values count as this.")


class Privacy(Part):
    """Floors below which nothing is released."""

    min_cohort: Whole = Field(default=3, ge=1, le=MAX_SILOS, description="The fewest members of anything released.")
    min_examples: Whole = Field(default=11, ge=1, le=10**12, description="The fewest examples of anything released.")
    allow_small_cohort: Flag = Field(default=False, description="Permits minCohort below 3.")
    allow_individual_release: Flag = Field(
        default=False, description="Permits rules whose result is one silo's update."
    )


class Limits(Part):
    """What one member can bring at most."""

    max_examples: Whole = Field(default=10**9, ge=1, le=10**12, description="Examples that one member may declare.")
    max_abs: Real = Field(default=1024.0, gt=0, le=1e6, description="Absolute value of one component of an update.")
