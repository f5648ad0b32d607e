"""Clients as Deployments of the silo's own cluster.

manifests   the objects of one client
diagnosis   what its pod is doing, in one condition
actions     what may be done in the cluster
holding     what is there of one client, and what to do about it: pure
backend     what is seen and done
"""
