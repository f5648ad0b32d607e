"""Umbel's Grafana pages and Prometheus alerts, as code: what the chart ships is generated here."""
