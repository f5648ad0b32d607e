"""When a silo can take part: its own rules, what is measured of the machine, and the decision. Nothing of it leaves
the silo but that a task was declined."""
