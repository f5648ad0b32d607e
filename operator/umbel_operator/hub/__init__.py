"""The hub operator: a FederatedJob becomes a server and one FederatedClient per silo."""
