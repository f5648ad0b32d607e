"""Where an agent runs its clients."""
