"""The library that starts sites leaves nothing behind, also when what uses it fails."""

from __future__ import annotations

import pytest
from umbel_slurm import site
from umbel_slurm.processes import is_alive, marked, until

pytestmark = pytest.mark.slurm

SCRIPT = "#!/bin/sh\nexec srun --export=ALL sh -c 'trap \"\" TERM; setsid sleep 1000 & while :; do sleep 1; done'\n"


class Fault(Exception):
    pass


def test_nothing_is_left_when_the_user_of_a_site_fails() -> None:
    here: list[int] = []

    def use(started: site.Site) -> None:
        job = started.run("sbatch", "--parsable", "--nodes=2", "--output=/dev/null", input=SCRIPT)
        until(lambda: len(started.processes(job)) > 4, "the job's processes")
        here.extend(started.processes(job))
        raise Fault

    with pytest.raises(Fault), site.running("fault", nodes=2) as started:
        use(started)
    assert not any(is_alive(pid) for pid in here)
    assert not marked(f"SLURM_CLUSTER_NAME={started.layout.cluster}")
    assert not started.folder.exists()


def test_a_daemon_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "slurm_conf", lambda layout: "ClusterName=x\nNonsense=1\n")
    made = site.Site("broken")
    try:
        with pytest.raises(site.SlurmError, match=r"slurmctld ended while it started:(?s:.*)Nonsense"):
            made.start()
    finally:
        made.stop()
    assert not made.folder.exists()
