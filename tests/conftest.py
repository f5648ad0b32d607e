"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Neither an example nor making one up is timed: that depends on what else the machine does. Fixtures that are made once
# for all examples of a test are meant so.
settings.register_profile(
    "umbel",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("umbel")
