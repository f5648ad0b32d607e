"""The silo agent: takes its silo's FederatedClients from the hub and runs them at home. It only ever dials out."""
