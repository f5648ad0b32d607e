"""What a client is to a batch scheduler: tasks, what each of them gets, and what that comes to in all. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from umbel_operator.agent.federatedclient import FederatedClient
from umbel_operator.agent.quantity import parse
from umbel_operator.agent.resources import effective, whole_cpus
from umbel_operator.agent.site import Pods

GPU, NODES, TASKS = "nvidia.com/gpu", "umbel.dev/nodes", "umbel.dev/tasks"


@dataclass(frozen=True, slots=True)
class Allocation:
    """``nodes``: None: the scheduler spreads the tasks as it likes. ``memory``: bytes of one node, None: the site's
    own."""

    tasks: int
    nodes: int | None
    cpus_per_task: int
    gpus_per_task: int
    memory: Fraction | None

    def in_all(self) -> dict[str, Fraction]:
        """The most that it may come to, by resource."""
        nodes = self.nodes or self.tasks
        return {
            TASKS: Fraction(self.tasks),
            NODES: Fraction(nodes),
            "cpu": Fraction(self.tasks * self.cpus_per_task),
            GPU: Fraction(self.tasks * self.gpus_per_task),
            "memory": nodes * (self.memory or Fraction(0)),
        }


def allocation(client: FederatedClient, pods: Pods) -> Allocation:
    """Raises ValueError for a quantity that is none."""
    limits = effective(client, pods)["limits"]
    nodes, memory = _whole(limits.get(NODES)), limits.get("memory")
    return Allocation(
        tasks=max(1, _whole(limits.get(TASKS)), nodes),
        nodes=nodes or None,
        cpus_per_task=whole_cpus(limits),
        gpus_per_task=_whole(limits.get(GPU)),
        memory=parse(memory) if memory is not None else None,
    )


def over_in_all(client: FederatedClient, pods: Pods) -> str | None:
    """The first resource of which its tasks and nodes come to more than one client may have."""
    found = sorted(allocation(client, pods).in_all().items())
    return next((name for name, amount in found if name in pods.ceilings and amount > parse(pods.ceilings[name])), None)


def _whole(quantity: str | None) -> int:
    return int(parse(quantity)) if quantity is not None else 0
