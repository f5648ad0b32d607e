"""`umbel server`: the server of one job, by hand or as a pod's command."""

from __future__ import annotations

from pathlib import Path

import click

EXISTING = click.Path(exists=True, path_type=Path)


@click.command("server", short_help="Run the server of one job.")
@click.option("--job", required=True, type=EXISTING, help="The FederatedJob manifest.")
@click.option("--state", required=True, type=click.Path(path_type=Path), help="Directory of checkpoint and history.")
@click.option("--uid", required=True, help="The job's uid: a state directory of another job is refused.")
@click.option("--listen", default="grpcs://0.0.0.0:8443", show_default=True, help="Where members connect; port 0: any.")
@click.option("--tls", required=True, type=EXISTING, help="Directory with tls.crt, tls.key and ca.crt.")
@click.option("--admin", default="0.0.0.0:9443", show_default=True, help="Address of /status and control, mutual TLS.")
@click.option("--http", default="0.0.0.0:9090", show_default=True, help="Address of /healthz and /metrics, plain.")
@click.option("--trust-domain", default="umbel.local", show_default=True, help="Of every certificate's SPIFFE id.")
@click.option("--operator", help="SPIFFE id that says who is a member; without it, the manifest's silos are.")
@click.option("--observer", help="SPIFFE id that may read /status and nothing else.")
@click.option("--endpoints", type=click.Path(path_type=Path), help="File to write the bound addresses to, once ready.")
@click.option("--path", "paths", multiple=True, type=EXISTING, help="Folder to import the app's module from.")
def server_command(
    job: Path,
    state: Path,
    uid: str,
    listen: str,
    tls: Path,
    admin: str,
    http: str,
    trust_domain: str,
    operator: str | None,
    observer: str | None,
    endpoints: Path | None,
    paths: tuple[Path, ...],
) -> None:
    """Run the rounds of one FederatedJob until it is Complete or Failed.

    The certificate in --tls must carry the DNS name <job>.<namespace>.umbel.internal. Exit status: 0 Complete,
    1 Failed, 2 something in the configuration is wrong (one line says what), 75 stopped by a signal: start it again
    with the same --state and --uid and it goes on after the last closed round.
    """
    from umbel.server.app import Options, run  # grpcio takes a while to import: not for --help

    raise SystemExit(
        run(
            Options(
                job=job,
                state=state,
                uid=uid,
                listen=listen,
                tls=tls,
                admin=admin,
                http=http,
                trust_domain=trust_domain,
                operator=operator,
                observer=observer,
                endpoints=endpoints,
                paths=tuple(str(p) for p in paths),
            )
        )
    )
