"""The agent's own numbers, for the silo that runs it: sums over all its clients, no name of a job, client or host."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

STATES = ("Running", "Waiting", "Suspended", "Finished", "Failing", "NotAccepted")
KINDS = ("FederatedClient", "Hub")
REASONS = ("Hub", "Silo", "Program")
# Reasons for which a client does not run, and nobody has to do anything.
WAITING = {"", "Pending", "WaitingForCertificate", "WaitingForServer"}
WAITING |= {"Submitting", "Queued", "Starting", "Preempted", "TimeLimit", "Stopped", "Ending"}


class Metrics:
    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.clients = Gauge("fl_agent_clients", "FederatedClients by state.", ["state"], registry=self.registry)
        self.errors = Counter("fl_reconcile_errors", "Passes that failed.", ["kind", "reason"], registry=self.registry)
        self.passes = Histogram(
            "fl_reconcile_duration_seconds", "Duration of a pass.", ["kind"], registry=self.registry
        )
        self.writes = Counter("fl_agent_writes", "Writes to the hub and to the silo.", ["kind"], registry=self.registry)
        self.heard = Gauge(
            "fl_agent_hub_last_success_timestamp_seconds", "Last heartbeat that the hub took.", registry=self.registry
        )
        self.token = Gauge(
            "fl_agent_token_expiry_timestamp_seconds", "End of the token for the hub.", registry=self.registry
        )
        build = Gauge("fl_build_info", "Version of the agent.", ["version"], registry=self.registry)
        build.labels(version).set(1)
        for state in STATES:
            self.clients.labels(state)
        for reason in REASONS:
            self.errors.labels("FederatedClient", reason)
        for kind in ("Hub", "Silo"):
            self.writes.labels(kind)

    def text(self) -> bytes:
        return generate_latest(self.registry)


def state(ready: str, reason: str, accepted: str) -> str:
    """The state of one client, from its Ready and Accepted conditions."""
    if accepted == "False":
        return "NotAccepted"
    if ready == "True":
        return "Running"
    if reason in ("Suspended", "Finished"):
        return reason
    return "Waiting" if reason in WAITING else "Failing"
