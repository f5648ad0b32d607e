"""Tests of the Helm charts."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "hack/cluster"), str(ROOT / "hack")]
