"""The bare API server that the tests of this folder use."""

from __future__ import annotations

import pytest
from umbel_cluster.api import Api
from umbel_cluster.tools import ClusterError

pytestmark = pytest.mark.api


def test_a_service_account_may_do_only_what_it_was_granted_also_after_a_restart(api: Api) -> None:
    api.kubectl("create", "namespace", "bare")
    api.kubectl("create", "serviceaccount", "reader", "-n", "bare")
    # Of its own: those that an API server comes with are put together by a controller, a while after it is ready.
    api.kubectl("create", "role", "reader", "-n", "bare", "--verb=list", "--resource=serviceaccounts")
    api.kubectl("create", "rolebinding", "reader", "-n", "bare", "--role=reader", "--serviceaccount=bare:reader")
    mine = str(api.kubeconfig_for("bare", "reader"))

    api.restart_apiserver()

    assert api.kubectl("--kubeconfig", mine, "get", "serviceaccounts", "-o", "name") != ""
    with pytest.raises(ClusterError, match="forbidden"):
        api.kubectl("--kubeconfig", mine, "get", "secrets")


def test_a_deleted_namespace_goes_with_all_that_is_in_it(api: Api) -> None:
    api.kubectl("create", "namespace", "gone")
    api.kubectl("create", "configmap", "it", "-n", "gone")
    api.kubectl("delete", "namespace", "gone", "--wait=true", "--timeout=60s")
    assert "gone" not in api.kubectl("get", "namespaces", "-o", "name")
