"""Pages and rules are made here from `monitoring/`, and tried with the real Prometheus and its promtool."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "monitoring"), str(ROOT / "hack/cluster")]
