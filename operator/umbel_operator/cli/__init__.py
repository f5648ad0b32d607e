"""Commands of people at the hub: umbel silo, umbel model."""
