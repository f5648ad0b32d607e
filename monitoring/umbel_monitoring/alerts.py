"""The alerts, with the thresholds and durations that are shipped."""

from __future__ import annotations

from umbel_monitoring.rule import Alert, Group

JOB = "{{ $labels.fl_namespace }}/{{ $labels.fl_job }}"
PER_JOB = "by (fl_namespace, fl_job)"
RUNBOOKS = "docs/runbooks/"  # what the pages' addresses begin with, unless a value says otherwise

CERTIFICATE_HOURS = 6
CHECKPOINT_ROUNDS = 2
HEARTBEAT_SECONDS = 120
AUTHORITY_DAYS = 30
REJECTED_RATIO = 0.2
# By name, never by `or`: that leaves out a series whose labels another metric of the same process has too.
CERTIFICATES_END = (
    "fl_(federatedjob_certificate_earliest|silo_certificate_earliest|server_certificate)_expiry_timestamp_seconds"
)

ROUNDS = Group(
    "umbel-rounds",
    [
        Alert(
            name="UmbelRoundPastDeadline",
            key="roundPastDeadline",
            expr=f"""\
time() - max {PER_JOB} (fl_round_deadline_timestamp_seconds > 0)
  > <<graceSeconds>>""",
            hold="1m",
            severity="critical",
            summary=f"A round of {JOB} is past its deadline",
            description=(
                f"The open round of {JOB} should have closed {{{{ $value | humanizeDuration }}}} ago. A round always "
                "closes at its deadline: its server hangs."
            ),
            parameters={"graceSeconds": (60, "After the deadline, for the sum and the checkpoint.")},
        ),
        Alert(
            name="UmbelRoundsAbandoned",
            key="roundsAbandoned",
            expr=f"""\
max {PER_JOB} (fl_federatedjob_rounds_abandoned_in_a_row)
  >= <<rounds>>
unless {PER_JOB.replace("by", "on")}
  time() - max {PER_JOB} (fl_federatedjob_completion_timestamp_seconds) > <<endedSeconds>>""",
            hold="0m",
            severity="critical",
            summary=f"{JOB} abandons its rounds",
            description=f"{{{{ $value }}}} rounds of {JOB} in a row were abandoned; the model does not move.",
            parameters={
                "rounds": (3, "In a row. A job with rounds.maxConsecutiveAbandoned: 3 fails at the third."),
                "endedSeconds": (3600, "How long it is still told of a job that has ended."),
            },
        ),
        Alert(
            name="UmbelUpdatesRejected",
            key="updatesRejected",
            expr=f"""\
sum {PER_JOB} (increase(fl_client_updates_rejected_total[<<window>>]))
/
(
  sum {PER_JOB} (increase(fl_client_updates_rejected_total[<<window>>]))
  + sum {PER_JOB} (increase(fl_client_updates_total{{outcome=~"full|partial"}}[<<window>>]))
)
  > <<ratio>>""",
            hold="5m",
            severity="warning",
            summary=f"{JOB} refuses many updates",
            description=(
                f"{{{{ $value | humanizePercentage }}}} of the updates that reached {JOB} in the last <<window>> were "
                "refused. fl_client_updates_rejected_total has the reasons."
            ),
            parameters={
                "ratio": (REJECTED_RATIO, "Of all updates that arrived."),
                "window": ("1h", "Over which it is counted; longer than a round."),
            },
        ),
        Alert(
            name="UmbelWaitingForSilos",
            key="waitingForSilos",
            expr="""\
max by (fl_namespace, fl_job, reason) (
  fl_federatedjob_waiting{reason=~"WaitingForSilos|WaitingForEndpoint|TooFewSilos"}
) == 1""",
            hold="15m",
            severity="warning",
            summary=f"No round of {JOB} can open",
            description=f"{JOB} has waited for its silos for long: {{{{ $labels.reason }}}}.",
        ),
        Alert(
            name="UmbelCheckpointOld",
            key="checkpointOld",
            expr=f"""\
(
  time() - max {PER_JOB} (fl_checkpoint_last_success_timestamp_seconds)
  > <<rounds>> * max {PER_JOB} (fl_job_round_timeout_seconds)
)
and {PER_JOB.replace("by", "on")}
  max {PER_JOB} (fl_job_status_phase{{phase=~"Training|Closing|Evaluating|Releasing"}}) == 1""",
            hold="1m",
            severity="critical",
            summary=f"The checkpoint of {JOB} is old",
            description=(
                f"The last checkpoint of {JOB} is {{{{ $value | humanizeDuration }}}} old, longer than <<rounds>> "
                "rounds may take. A server that restarts now falls back to it."
            ),
            parameters={"rounds": (CHECKPOINT_ROUNDS, "Of the longest that a round of the job may be.")},
        ),
        Alert(
            name="UmbelJobFailed",
            key="jobFailed",
            expr=f"""\
max by (fl_namespace, fl_job, reason) (fl_federatedjob_failed) == 1
unless {PER_JOB.replace("by", "on")}
  time() - max {PER_JOB} (fl_federatedjob_completion_timestamp_seconds) > <<endedSeconds>>""",
            hold="0m",
            severity="critical",
            summary=f"{JOB} has failed",
            description=f"{JOB} has ended as Failed: {{{{ $labels.reason }}}}.",
            parameters={"endedSeconds": (3600, "How long it is told.")},
        ),
        Alert(
            name="UmbelServerNotReady",
            key="serverNotReady",
            expr=f"""\
max {PER_JOB} (fl_federatedjob_server_ready) == 0
and {PER_JOB.replace("by", "on")}
  max {PER_JOB} (fl_federatedjob_status_phase{{phase="Progressing"}}) == 1""",
            hold="10m",
            severity="critical",
            summary=f"The server of {JOB} cannot be reached",
            description=f"The operator does not reach the server of {JOB}; the job stands still.",
        ),
    ],
)

PRIVACY = Group(
    "umbel-privacy",
    [
        Alert(
            name="UmbelUpdatesHeldWhileIdle",
            key="updatesHeldWhileIdle",
            expr=f"""\
max {PER_JOB} (fl_server_update_buffer_bytes)
  > <<bytes>>
and {PER_JOB.replace("by", "on")}
  max {PER_JOB} (fl_job_status_phase{{phase=~"Gathering|Suspended|Complete|Failed"}}) == 1""",
            hold="5m",
            severity="critical",
            summary=f"The idle server of {JOB} holds updates",
            description=(
                f"{{{{ $value | humanize1024 }}}}B of single updates are in the memory of {JOB}'s server while no "
                "round is open. They should have been overwritten when the round closed."
            ),
            parameters={"bytes": (0, "That may be held.")},
        ),
        Alert(
            name="UmbelMetricsWithheld",
            key="metricsWithheld",
            expr=f"""\
max {PER_JOB} (fl_federatedjob_rounds_withheld_in_a_row)
  >= <<rounds>>
unless {PER_JOB.replace("by", "on")}
  time() - max {PER_JOB} (fl_federatedjob_completion_timestamp_seconds) > <<endedSeconds>>""",
            hold="0m",
            severity="warning",
            summary=f"Metrics of {JOB} are withheld",
            description=(
                f"Each of the last {{{{ $value }}}} rounds of {JOB} withheld a metric. fl_metrics_withheld_total has "
                "the reasons."
            ),
            parameters={
                "rounds": (10, "In a row; at most 20, as many as a job's status keeps."),
                "endedSeconds": (3600, "How long it is still told of a job that has ended."),
            },
        ),
    ],
)

CERTIFICATES = Group(
    "umbel-certificates",
    [
        Alert(
            name="UmbelCertificateExpires",
            key="certificateExpires",
            expr=f"""\
min {PER_JOB} ({{__name__=~"{CERTIFICATES_END}"}}) - time()
  < <<hours>> * 3600""",
            hold="5m",
            severity="critical",
            summary=f"A certificate of {JOB} ends soon",
            description=(
                f"The first certificate of {JOB} ends in {{{{ $value | humanizeDuration }}}}. It should have been "
                "renewed at two thirds of its life."
            ),
            parameters={"hours": (CERTIFICATE_HOURS, "Left; less than the third of a life that renewal has.")},
        ),
        Alert(
            name="UmbelAuthorityExpires",
            key="authorityExpires",
            expr="min(fl_authority_expiry_timestamp_seconds) - time()\n  < <<days>> * 86400",
            hold="1h",
            severity="warning",
            summary="The hub's certificate authority ends soon",
            description="The authority that signs for all silos and servers ends in {{ $value | humanizeDuration }}.",
            parameters={"days": (AUTHORITY_DAYS, "Left: long enough to rotate it in every silo.")},
        ),
    ],
)

HUB = Group(
    "umbel-hub",
    [
        Alert(
            name="UmbelReconcileErrors",
            key="reconcileErrors",
            expr="""\
sum by (kind, reason) (increase(fl_reconcile_errors_total[<<window>>]))
  > <<errors>>""",
            hold="5m",
            severity="warning",
            summary="The operator's passes over {{ $labels.kind }}s fail",
            description="{{ $value | humanize }} passes failed in <<window>>: {{ $labels.reason }}.",
            parameters={"errors": (5, "That may happen: each is tried again."), "window": ("15m", "In which.")},
        ),
        Alert(
            name="UmbelSiloUnknown",
            key="siloUnknown",
            expr='max(fl_silos{state="Unknown", fl_job=""})\n  > <<silos>>',
            hold="5m",
            severity="warning",
            summary="Silos are Unknown",
            description="The agents of {{ $value }} silos do not report. `kubectl get silos` names them.",
            parameters={"silos": (0, "That may be Unknown.")},
        ),
        Alert(
            name="UmbelOperatorDeaf",
            key="operatorDeaf",
            expr="time() - max(fl_operator_watch_echo_timestamp_seconds)\n  > <<seconds>>",
            hold="2m",
            severity="critical",
            summary="The operator does not hear the hub's API",
            description="The operator last saw its own heartbeat on a watch {{ $value | humanizeDuration }} ago.",
            parameters={"seconds": (HEARTBEAT_SECONDS, "Since its last heartbeat came back.")},
        ),
        Alert(
            name="UmbelOperatorAbsent",
            key="operatorAbsent",
            expr="absent(fl_operator_watch_echo_timestamp_seconds)",
            hold="10m",
            severity="critical",
            summary="Nothing is heard of the operator",
            description="No metrics of an operator are scraped: jobs neither start, nor change, nor end.",
        ),
    ],
)

GROUPS = (ROUNDS, PRIVACY, CERTIFICATES, HUB)
