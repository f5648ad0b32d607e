"""The configuration of one site. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 10  # of a preempted job
KILL_SECONDS = 5  # between TERM and KILL otherwise
SILENCE_SECONDS = 10  # until a node that does not answer is down
DEVICES = ("/dev/null", "/dev/zero")  # stand for a node's GPUs: every machine has them, and nobody can break them


@dataclass(frozen=True)
class Layout:
    """``cluster``: unlike that of every other site of the machine, as it marks what runs there. ``accounting``: the
    ports of slurmdbd and of its database; none: nothing is remembered. ``gpus``: of each node, two at most.
    ``forget_seconds``: how long the controller knows of a job that has ended."""

    cluster: str
    folder: Path
    user: str
    host: str
    controller_port: int
    node_ports: Sequence[int]
    cpus: int = 4
    accounting: tuple[int, int] | None = None
    gpus: int = 0
    forget_seconds: int = 300

    @property
    def nodes(self) -> list[str]:
        return [f"n{number}" for number in range(1, len(self.node_ports) + 1)]

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge.socket"


def slurm_conf(of: Layout) -> str:
    """Jobs of the partitions ``fl`` and ``spare`` give way to those of ``hi``: are requeued, or end."""
    d = of.folder
    gpus = f" Gres=gpu:{of.gpus}" if of.gpus else ""
    nodes = "".join(
        f"NodeName={name} NodeHostname={of.host} NodeAddr=127.0.0.1 Port={port} CPUs={of.cpus} RealMemory=8000{gpus}\n"
        for name, port in zip(of.nodes, of.node_ports, strict=True)
    )
    every = ",".join(of.nodes)
    return f"""\
ClusterName={of.cluster}
SlurmctldHost={of.host}(127.0.0.1)
SlurmctldPort={of.controller_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={of.user}
SlurmdUser={of.user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={of.munge_socket},cred_expire=5
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
{_storage(of)}
{"GresTypes=gpu" if of.gpus else ""}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
MailProg=/bin/true
KillWait={KILL_SECONDS}
MinJobAge={of.forget_seconds}
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout={SILENCE_SECONDS}
StateSaveLocation={d}/state
SlurmdSpoolDir={d}/spool-%n
SlurmctldPidFile={d}/slurmctld.pid
SlurmdPidFile={d}/slurmd-%n.pid
{nodes}PartitionName=DEFAULT Nodes={every} MaxTime=00:30:00 GraceTime={GRACE_SECONDS}
PartitionName=fl Default=YES PriorityTier=1 PreemptMode=REQUEUE
PartitionName=spare PriorityTier=1 PreemptMode=CANCEL
PartitionName=hi PriorityTier=10 PreemptMode=OFF
"""


def _storage(of: Layout) -> str:
    if of.accounting is None:
        return "AccountingStorageType=accounting_storage/none"
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={of.accounting[0]}
AccountingStoragePass={of.munge_socket}"""


def gres_conf(of: Layout) -> str:
    return "".join(f"Name=gpu File={path}\n" for path in DEVICES[: of.gpus])


def slurmdbd_conf(of: Layout) -> str:
    assert of.accounting is not None
    port, database = of.accounting
    return f"""\
DbdHost={of.host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={of.user}
AuthType=auth/munge
AuthInfo=socket={of.munge_socket}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser={of.user}
StoragePass=none
PidFile={of.folder}/slurmdbd.pid
"""
