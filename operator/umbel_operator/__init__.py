"""Umbel on Kubernetes: the hub operator and the silo agent. The runtime knows nothing of either."""
