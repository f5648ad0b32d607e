"""What Helm would find out in the middle of an installation is said before it begins: on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from umbel_cluster import api as _api
from umbel_cluster import charts
from umbel_cluster.tools import ClusterError

pytestmark = pytest.mark.api

ELSEWHERE = ("-n", "elsewhere", "--create-namespace")
SYSTEM = ("-n", "umbel-system", "--create-namespace")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[_api.Api]:
    """With nothing in it."""
    with _api.serving(tmp_path) as serving:
        yield serving


def test_a_hub_that_cannot_be_installed(api: _api.Api) -> None:
    def helm(*args: str | Path) -> str:
        return charts.helm(*args, kubeconfig=api.kubeconfig)

    with pytest.raises(ClusterError, match=r"the cluster has no CustomResourceDefinition federatedjobs\.umbel\.dev"):
        helm("install", "umbel", charts.HUB, *SYSTEM, "--set=crds.enabled=false")
    said = helm("install", "umbel", charts.HUB, *SYSTEM, "--set=rbac.create=false")
    assert "Next, a silo. Invite it, and hand the bundle" in said
    with pytest.raises(ClusterError, match="has a hub already: release umbel in namespace umbel-system"):
        helm("install", "other", charts.HUB, *ELSEWHERE, "--set=crds.enabled=false", "--set=rbac.create=false")
    said = helm("upgrade", "umbel", charts.HUB, *SYSTEM[:2], "--set=join.enabled=false")
    assert "Next, a silo. Make its access to this hub" in said
    with pytest.raises(ClusterError, match="has a hub already: release umbel in namespace umbel-system"):
        helm("install", "other", charts.HUB, *ELSEWHERE)
    helm("upgrade", "umbel", charts.HUB, *SYSTEM[:2], "--set=podAnnotations.some=changed")
    helm("uninstall", "umbel", *SYSTEM[:2], "--no-hooks")
    with pytest.raises(
        ClusterError, match=r"belong to release umbel in namespace umbel-system\. Hand them over"
    ) as error:
        helm("install", "other", charts.HUB, *ELSEWHERE)
    _, _, told = str(error.value).partition("kubectl ")
    for command in told.partition("; or set")[0].split(" && kubectl "):
        api.kubectl(*command.split())
    helm("install", "other", charts.HUB, *ELSEWHERE)
