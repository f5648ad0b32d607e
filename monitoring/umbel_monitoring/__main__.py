"""Write what the chart ships: the two pages, the rules, and the values that they need."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from umbel_monitoring import alerts, fleet, one, rule
from umbel_monitoring.pages import JOB, JOBS

CHART = Path(__file__).parents[2] / "helm/umbel-hub"


def files() -> dict[str, str]:
    """Path in the chart -> content."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    pages = {JOBS: fleet.build(), JOB: one.build()}
    found = {f"dashboards/{uid}.json": encoder.encode(built.build()) + "\n" for uid, built in pages.items()}
    head = "# Made by `make monitoring` from monitoring/umbel_monitoring/alerts.py.\n"
    found["rules/umbel.yaml"] = head + rule.template(alerts.GROUPS)
    found["rules/values.yaml"] = head + rule.commented(alerts.GROUPS)
    return found


def main() -> None:
    for name, content in files().items():
        path = CHART / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
