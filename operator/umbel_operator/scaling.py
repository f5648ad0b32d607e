"""How a program's own Deployment is stopped before its release is uninstalled."""

from __future__ import annotations

from umbel_operator.kube import DEPLOYMENT, ApiError, Kube


async def scale_down(api: Kube, deployment: str, namespace: str) -> None:
    """To no replica; one that is not there is none. The field is left to no manager: should the uninstallation fail, a
    rollback applies the chart's again, and would find a conflict. Raises ApiError."""
    while found := await api.patch(DEPLOYMENT, deployment, namespace, {"spec": {"replicas": 0}}):
        meta = found["metadata"]
        owners = meta.get("managedFields") or []
        others = [owner for owner in owners if owner["fieldsV1"] != {"f:spec": {"f:replicas": {}}}]
        if others == owners:
            return
        body = {"metadata": {"managedFields": others, "resourceVersion": meta["resourceVersion"]}}
        try:
            await api.patch(DEPLOYMENT, deployment, namespace, body)
        except ApiError as error:
            if error.status != 409:
                raise
