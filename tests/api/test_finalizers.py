"""What the API server says of an object that a finalizer keeps."""

from __future__ import annotations

import json

import pytest
from umbel_cluster.api import Api

from umbel_operator.hub.kept import kept
from umbel_operator.kube import POD, Kube

pytestmark = pytest.mark.api


async def test_a_pod_that_is_still_there_says_whether_it_was_deleted_by_force(api: Api) -> None:
    meta = {"name": "held", "namespace": "default", "finalizers": ["example.org/held"]}
    spec = {"nodeName": "silent", "containers": [{"name": "server", "image": "none"}]}
    api.kubectl(
        "create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    )
    kube = Kube.from_kubeconfig(api.kubeconfig)
    try:
        for given, said in ((None, 30), (0, 0)):
            await kube.delete(POD, "held", "default", grace_seconds=given)
            live = await kube.get(POD, "held", "default")
            assert live is not None
            assert kept(live)["metadata"]["deletionGracePeriodSeconds"] == said
    finally:
        await kube.close()
        api.kubectl("patch", "pod", "held", "--type=merge", "-p", json.dumps({"metadata": {"finalizers": None}}))
