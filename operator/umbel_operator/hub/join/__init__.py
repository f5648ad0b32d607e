"""The join service: how a silo that was invited gets its access to the hub, and keeps it."""
