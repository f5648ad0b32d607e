"""The FederatedJob manifest: read by `umbel run`, by the server and by the operator alike.

`load` or `parse` checks the fields one by one, `resolve` how they go together, and fills in what is computed:

    job = resolve(load(path))

Attributes are the manifest's names in snake_case (`job.spec.rounds.timeout_seconds`; `from` is `from_`). Every fault
is a JobError whose text has one line each: field, fault, remedy.
"""

from __future__ import annotations

from umbel.manifest.app import App, Initial, Metadata, Model, Output
from umbel.manifest.changes import mutable_while_running
from umbel.manifest.errors import Fault, JobError
from umbel.manifest.kubernetes import Resources, Server, Silo, SiloSelector
from umbel.manifest.read import load, parse
from umbel.manifest.resolve import resolve
from umbel.manifest.rounds import Evaluation, Limits, Metric, Plateau, Privacy, Rounds, StopWhen
from umbel.manifest.whole import API_VERSION, KIND, FederatedJob, Spec, Strategy

__all__ = [
    "API_VERSION",
    "KIND",
    "App",
    "Evaluation",
    "Fault",
    "FederatedJob",
    "Initial",
    "JobError",
    "Limits",
    "Metadata",
    "Metric",
    "Model",
    "Output",
    "Plateau",
    "Privacy",
    "Resources",
    "Rounds",
    "Server",
    "Silo",
    "SiloSelector",
    "Spec",
    "StopWhen",
    "Strategy",
    "load",
    "mutable_while_running",
    "parse",
    "resolve",
]
