"""How a program is run as an ordinary user, whoever runs the tests."""

from __future__ import annotations

from umbel_cluster.tools import installed

# Whoever runs the test owns the files, but has there another number than root's, and none of its powers.
USER = 1000
ORDINARY = [installed("unshare"), "--user", f"--map-user={USER}", f"--map-group={USER}", "--"]
