"""What a client of several tasks comes to, and that a ceiling bounds all of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.agent.bench import SLURM
from unit.operator.agent.silo import client, site_file

from umbel_operator.agent.backends.slurm.request import Request
from umbel_operator.agent.federatedclient import FederatedClient, Server
from umbel_operator.agent.policy import OVER_CEILING, decide
from umbel_operator.agent.quantity import parse
from umbel_operator.agent.site import Site

TASKS, NODES, GPU = "umbel.dev/tasks", "umbel.dev/nodes", "nvidia.com/gpu"


def slurm(**ceilings: Any) -> Site:
    return site_file(datasets={"named": {}}, slurm=SLURM, pods={"ceilings": ceilings})


def asking(**limits: Any) -> FederatedClient:
    return client(resources={"limits": limits})


@pytest.mark.parametrize(
    ("ceilings", "limits", "over"),
    [
        ({"cpu": 8}, {TASKS: 1000}, "cpu"),
        ({"cpu": 8}, {TASKS: 8}, None),
        ({"cpu": 8}, {TASKS: 4, "cpu": 3}, "cpu"),
        ({"cpu": 8}, {TASKS: 1000, "cpu": "1m"}, "cpu"),  # Slurm gives each a whole one
        ({"cpu": 8}, {NODES: 4, "cpu": 3}, "cpu"),
        ({"memory": "8Gi"}, {NODES: 2, "memory": "4Gi"}, None),
        ({"memory": "8Gi"}, {NODES: 2, TASKS: 64, "memory": "4Gi"}, None),
        ({"memory": "8Gi"}, {NODES: 3, "memory": "4Gi"}, "memory"),
        ({"memory": "8Gi"}, {TASKS: 3, "memory": "4Gi"}, "memory"),  # it may be three nodes
        ({GPU: 4}, {TASKS: 4, GPU: 1}, None),
        ({GPU: 4}, {TASKS: 4, GPU: 2}, GPU),
        ({NODES: 1}, {TASKS: 2}, NODES),
        ({NODES: 1}, {TASKS: 2, NODES: 1}, None),
        ({TASKS: 2}, {NODES: 3}, TASKS),
        ({}, {TASKS: 1000, NODES: 1000, "cpu": 1000}, None),
    ],
)
def test_ceilings_bound_all_tasks_and_nodes_together(
    ceilings: dict[str, Any], limits: dict[str, Any], over: str | None
) -> None:
    found = decide(asking(**limits), slurm(**ceilings), {})
    assert found.allowed == (over is None)
    if over is not None:
        assert (found.reason, found.detail) == (OVER_CEILING, f"{over}: at most {ceilings[over]}")


def test_where_there_are_no_tasks_none_are_counted() -> None:
    assert decide(asking(cpu="500m"), site_file(pods={"ceilings": {"cpu": "500m"}}), {}).allowed


AMOUNTS = st.dictionaries(
    st.sampled_from([TASKS, NODES, GPU, "cpu", "memory"]),
    st.sampled_from(["0", "1", "2", "3", "7", "1500m", "64Mi", "3Gi"]),
)


@given(requests=AMOUNTS, limits=AMOUNTS, ceilings=AMOUNTS)
def test_what_is_allowed_never_asks_the_scheduler_for_more(
    requests: dict[str, str], limits: dict[str, str], ceilings: dict[str, str]
) -> None:
    site, asked = slurm(**ceilings), client(resources={"requests": requests, "limits": limits})
    if not decide(asked, site, {}).allowed:
        return
    assert site.slurm is not None
    made = Request(asked, site, site.slurm, Server("grpcs://203.0.113.9:1", "a"), Path("/w"), {}).options("n", "c")
    words = dict(re.findall(r"--([a-z-]+)=(\d+)", " ".join(made.arguments())))
    tasks, nodes = int(words["ntasks"]), int(words.get("nodes", words["ntasks"]))
    got = {
        TASKS: tasks,
        NODES: nodes,
        "cpu": tasks * int(words["cpus-per-task"]),
        GPU: tasks * int(words.get("gpus-per-task", 0)),
        "memory": nodes * (int(words.get("mem", 0)) - 1) << 20,  # rounded up to a whole MiB
    }
    for name, most in ceilings.items():
        assert got[name] <= parse(most)
