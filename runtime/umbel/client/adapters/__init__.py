"""From a training script's own functions to a client; one module a framework, imported only when it is asked for."""
