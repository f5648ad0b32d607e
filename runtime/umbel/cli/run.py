"""``umbel run``: a whole federation on one machine, over the same wire as everywhere else."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from umbel.cli import preflight, records
from umbel.cli.errors import CliError
from umbel.cli.plan import render_plan
from umbel.cli.report import write_report
from umbel.cli.running.directory import RunDirectory, fresh_path
from umbel.cli.running.identities import Identities
from umbel.cli.running.processes import Commands
from umbel.cli.running.progress import NOTHING, Plain, Presenter, Quiet, Terminal, metrics
from umbel.cli.running.status import Status
from umbel.cli.running.supervisor import Result, Supervisor
from umbel.job import FederatedJob

INTERRUPTED = 130


@click.command("run")
@click.argument("job", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory; default runs/<job>-<time>.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a run that was stopped.")
@click.option("--data", multiple=True, metavar="NAME=PATH", help="Where a dataset lies on this machine; repeatable.")
@click.option("--eligibility", multiple=True, metavar="SILO=FILE", help="When that silo takes part; repeatable.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The server's port; default any free one.")
@click.option("--dry-run", is_flag=True, help="Print the resolved job, an estimate and warnings; start nothing.")
@click.option("--quiet", is_flag=True, help="No progress, only how it ended.")
def run_command(
    job: Path | None,
    out: Path | None,
    resume: Path | None,
    data: tuple[str, ...],
    eligibility: tuple[str, ...],
    port: int,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Run the FederatedJob in the manifest JOB on this machine.

    Starts the server and one client process for each silo, connected over mutual TLS with certificates made for
    this run, and shows the progress. A process that dies is started again. Ctrl-C stops everything; `--resume`
    goes on from the last closed round.

    The client's code is imported from the manifest's folder, besides what is installed. In the run's directory
    lie logs, the state of server and silos, the final model.safetensors and report.html.

    Exit codes: 0 Complete, 1 Failed, 2 a fault in the manifest or on the command line, 130 stopped.
    """
    if resume is not None:
        if job is not None or out is not None or dry_run:
            raise click.UsageError("--resume DIR takes its job and settings from DIR; leave JOB, --out, --dry-run out")
        return _resume(resume, data, eligibility, port, quiet)
    if job is None:
        raise click.UsageError("name a manifest (umbel run job.yaml) or a run to go on with (--resume DIR)")
    loaded = preflight.read_job(job)
    paths = preflight.dataset_paths(data, loaded)
    rules = preflight.eligibility_files(eligibility, loaded)
    if dry_run:
        click.echo(render_plan(job, loaded))
        return 0
    preflight.check_port(port)
    run = RunDirectory.create(out or fresh_path(loaded.metadata.name), job, paths, rules)
    with run.held():
        return _finish(run, _supervise(run, loaded, port, quiet))


def _resume(path: Path, data: tuple[str, ...], eligibility: tuple[str, ...], port: int, quiet: bool) -> int:
    with RunDirectory.open(path).held():
        run = RunDirectory.open(path)  # again: what it says before the lock may be about to change
        if run.facts.outcome == "Complete":
            raise CliError(f"{path} is complete; its model is {run.model}")
        loaded = _reopen(run, data, eligibility, port)
        return _finish(run, _supervise(run, loaded, port, quiet))


def _reopen(run: RunDirectory, data: tuple[str, ...], eligibility: tuple[str, ...], port: int) -> FederatedJob:
    """The job of a stopped run, after the checks of a new one; ``data`` and ``eligibility`` replace what was given."""
    loaded = preflight.read_job(run.job)
    new = preflight.dataset_paths(data, loaded)
    rules = preflight.eligibility_files(eligibility, loaded)
    preflight.check_readable({name: Path(p) for name, p in run.facts.data.items() if name not in new})
    preflight.check_rules(Path(p) for name, p in run.facts.eligibility.items() if name not in rules)
    preflight.check_port(port)
    run.facts.outcome = run.facts.reason = ""
    run.facts.data |= {name: str(p.resolve()) for name, p in new.items()}
    run.facts.eligibility |= {name: str(p) for name, p in rules.items()}
    run.save()
    return loaded


def _supervise(run: RunDirectory, job: FederatedJob, port: int, quiet: bool) -> Result:
    silos: Mapping[str, str] = {silo.name: silo.dataset for silo in job.spec.silos or ()}
    identities = Identities(run, job.metadata.namespace, job.metadata.name, list(silos))
    presenter = _presenter(run, job.metadata.name, quiet)

    async def supervise() -> Result:
        supervisor = Supervisor(
            Commands(run, identities, job.spec.app.client),
            identities,
            silos,
            quorum=job.spec.rounds.quorum or 1,
            port=port,
            presenter=presenter,
        )
        return await supervisor.run()

    if not quiet:
        click.echo(f"{job.metadata.name}: {len(silos)} silos, {job.spec.rounds.total} rounds, in {_short(run.path)}")
    try:
        return asyncio.run(supervise())
    finally:
        presenter.close()


def _presenter(run: RunDirectory, job: str, quiet: bool) -> Presenter:
    if quiet:
        return Quiet()
    if sys.stdout.isatty():
        return Terminal(job, Console())
    return Plain(max(((r.round, r.attempt) for r in records.read(run.history)), default=NOTHING))


def _finish(run: RunDirectory, result: Result) -> int:
    """Say how it ended, and leave model and report where they are found. Returns the exit code."""
    if result.outcome == "Stopped":
        click.echo(f"Stopped. Go on with: umbel run --resume {_short(run.path)}", err=True)
        return INTERRUPTED
    if result.outcome == "Misconfigured":
        raise CliError(f"{result.reason} (see {_short(run.server_log)})")
    run.facts.outcome, run.facts.reason = result.outcome, result.reason
    run.save()
    has_model = _copy_model(run, result.status)
    write_report(run)
    if result.outcome == "Complete":
        click.echo(f"Complete{_ending(result)}")
    else:
        click.echo(f"Failed: {result.reason}", err=True)
    if has_model:
        click.echo(f"model   {_short(run.model)}")
    click.echo(f"report  {_short(run.report)}")
    return 0 if result.outcome == "Complete" else 1


def _ending(result: Result) -> str:
    """``: 20 rounds, accuracy 0.95, loss 0.21``, released numbers only."""
    if result.status is None:
        return ""
    values = metrics(result.status)
    shown = sorted(values.items(), key=lambda item: item[0] == "loss")
    return ", ".join([f": {result.status.round} rounds", *(f"{name} {value:.4g}" for name, value in shown)])


def _copy_model(run: RunDirectory, status: Status | None) -> bool:
    """The server's newest model, as DIR/model.safetensors; a job that failed before its first has none."""
    told = [Path(status.model)] if status and status.model else []
    found = [path for path in [*told, *run.checkpoints()] if path.is_file()]
    if not found:
        return False
    temporary = run.model.with_name(".model.safetensors")
    shutil.copyfile(found[0], temporary)
    temporary.replace(run.model)
    return True


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
