"""What an alert is, and the two forms it is written in: the chart's template, and rules for promtool.

Expressions and texts name a parameter as ``<<name>>``; in the chart it becomes a value, elsewhere what is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PARAMETER = re.compile(r"<<(\w+)>>")
ANNOTATION = re.compile(r"{{.*?}}")

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Alert:
    """``key``: in the chart's values, beneath ``alerts``. ``hold``: how long before it fires. ``parameters``: besides
    ``enabled``, ``for`` and ``severity``, with the value shipped and the comment that explains it."""

    name: str
    key: str
    expr: str
    hold: str
    severity: str
    summary: str
    description: str
    parameters: Mapping[str, tuple[Any, str]] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        own = {name: value for name, (value, _) in self.parameters.items()}
        return {"enabled": True, "for": self.hold, "severity": self.severity, **own}


@dataclass(frozen=True)
class Group:
    name: str
    alerts: Sequence[Alert]


def defaults(groups: Sequence[Group]) -> dict[str, Any]:
    """The chart's values beneath ``alerts``, one entry an alert."""
    return {alert.key: alert.values for group in groups for alert in group.alerts}


def rules(groups: Sequence[Group], values: Mapping[str, Parameters], runbooks: str) -> dict[str, Any]:
    """As Prometheus reads them."""
    found = []
    for group in groups:
        alerts = [_rule(alert, values[alert.key], runbooks) for alert in group.alerts if values[alert.key]["enabled"]]
        found += [{"name": group.name, "rules": alerts}] if alerts else []
    return {"groups": found}


def _rule(alert: Alert, values: Parameters, runbooks: str) -> dict[str, Any]:
    def filled(text: str) -> str:
        return PARAMETER.sub(lambda match: str(values[match[1]]), text)

    return {
        "alert": alert.name,
        "expr": filled(alert.expr),
        "for": values["for"],
        "labels": {"severity": values["severity"]},
        "annotations": {
            "summary": filled(alert.summary),
            "description": filled(alert.description),
            "runbook_url": f"{runbooks}{alert.name}.md",
        },
    }


def template(groups: Sequence[Group]) -> str:
    """For Helm's ``tpl``: the same rules with values in place of parameters."""
    lines = ["groups:"]
    for group in groups:
        wanted = " ".join(f".Values.alerts.{alert.key}.enabled" for alert in group.alerts)
        lines += [f"  {{{{- if or {wanted} }}}}", f"  - name: {group.name}", "    rules:"]
        for alert in group.alerts:
            lines += _templated(alert)
        lines += ["  {{- end }}"]
    return "\n".join(lines) + "\n"


def _templated(alert: Alert) -> list[str]:
    where = f".Values.alerts.{alert.key}"

    def filled(text: str) -> str:
        kept = ANNOTATION.sub(lambda match: "{{`" + match[0] + "`}}", text)  # Prometheus's own templates
        return PARAMETER.sub(lambda match: f"{{{{ {where}.{match[1]} }}}}", kept)

    def block(name: str, text: str, indent: int) -> list[str]:
        folded = [" " * (indent + 2) + line for line in filled(text).splitlines()]
        return [f"{' ' * indent}{name}: >-", *folded]

    return [
        f"      {{{{- if {where}.enabled }}}}",
        f"      - alert: {alert.name}",
        *block("expr", alert.expr, 8),
        f"        for: {{{{ {where}.for }}}}",
        "        labels:",
        f"          severity: {{{{ {where}.severity }}}}",
        "        annotations:",
        *block("summary", alert.summary, 10),
        *block("description", alert.description, 10),
        f"          runbook_url: {{{{ .Values.alerts.runbooks }}}}{alert.name}.md",
        "      {{- end }}",
    ]


def commented(groups: Sequence[Group], comment: Callable[[str], str] = lambda text: f"# {text}") -> str:
    """The chart's values beneath ``alerts`` as YAML, each with the comment that explains it."""
    lines = []
    for group in groups:
        for alert in group.alerts:
            lines += [comment(f"{alert.name}: {alert.summary.replace('{{ $labels.', '').replace(' }}', '')}")]
            lines += [f"{alert.key}:", "  enabled: true", f"  for: {alert.hold}", f"  severity: {alert.severity}"]
            for name, (value, why) in alert.parameters.items():
                lines += [f"  {comment(why)}", f"  {name}: {value}"]
    return "\n".join(lines) + "\n"
