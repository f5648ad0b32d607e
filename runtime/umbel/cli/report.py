"""``umbel report``: from a run's directory to its report.html."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from umbel.cli import html, records
from umbel.cli.errors import CliError
from umbel.cli.running.directory import RunDirectory
from umbel.cli.units import in_seconds
from umbel.job import FederatedJob, load, resolve


@click.command("report")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it; default DIR/report.html.")
def report_command(directory: Path, out: Path | None) -> int:
    """Write the report of the run in DIR again, from the rounds its server released.

    One HTML file with nothing to load: learning curve, time by phase, members by outcome, bytes moved, settings.
    Works while the run goes on, too.
    """
    click.echo(write_report(RunDirectory.open(directory), out))
    return 0


def write_report(run: RunDirectory, out: Path | None = None) -> Path:
    """Returns where it was written. Raises CliError when it cannot be."""
    job = resolve(load(run.job))
    report = html.Report(
        job=job.metadata.name,
        outcome=run.facts.outcome,
        reason=run.facts.reason,
        total=job.spec.rounds.total,
        settings=dict(settings(job)),
        records=records.read(run.history),
    )
    target = out or run.report
    try:
        target.write_text(html.render(report), "utf-8")
    except OSError as error:
        raise CliError(f"{target} cannot be written: {error.strerror}; choose another with --out") from error
    return target


def settings(job: FederatedJob) -> Iterator[tuple[str, str]]:
    """The settings that explain the curves, in words of the manifest."""
    spec, rounds = job.spec, job.spec.rounds
    parameters = ", ".join(f"{name} {value}" for name, value in spec.strategy.parameters.items())
    yield "client", spec.app.client
    if spec.app.config:
        yield "config", ", ".join(f"{name} {value}" for name, value in spec.app.config.items())
    yield "seed", str(spec.seed)
    yield "strategy", f"{spec.strategy.name} ({parameters})" if parameters else spec.strategy.name
    yield "weighting", str(spec.strategy.weighting)
    yield "silos", str(len(spec.silos or ()))
    yield "updates a round", f"{rounds.updates} wanted, {rounds.quorum} needed"
    yield "round", f"{in_seconds(rounds.timeout_seconds)} at most, told {in_seconds(rounds.grace_seconds or 0)} before"
    yield "partial updates", str(rounds.partial_updates)
    every = spec.evaluation.every_rounds
    yield "evaluation", "never" if not every else "every round" if every == 1 else f"every {every} rounds"
    privacy = spec.privacy
    yield "released from", f"{privacy.min_cohort} members and {privacy.min_examples} examples"
