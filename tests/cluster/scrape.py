"""What one request to ``/metrics`` showed."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    def __init__(self, text: str) -> None:
        self.families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Of the one series whose labels are these, apart from those that all have in common."""
        wanted = labels.items()
        found = [value for (n, own), value in self._samples.items() if n == name and wanted <= set(own)]
        assert len(found) == 1, f"{name} {labels}: {len(found)} series"
        return found[0]
