"""The objects of one FederatedJob, as pure functions of its spec."""
