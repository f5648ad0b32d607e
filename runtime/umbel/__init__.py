"""Umbel: federated learning, from a laptop to many clusters."""
