"""Kinds of panels, with what all panels of a kind have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GOOD, SOON, BAD = "green", "orange", "red"
COLORS = {  # of names that mean something, in every graph
    **dict.fromkeys(("full", "committed", "Ready", "connected", "Complete", "accepted"), GOOD),
    **dict.fromkeys(("partial", "declined", "Progressing"), "blue"),
    **dict.fromkeys(("timed_out", "absent", "Suspended", "refused"), SOON),
    **dict.fromkeys(("lost", "abandoned", "Unknown", "Failed", "unidentified"), BAD),
}
COLUMNS = 24  # of Grafana's grid

Panel = timeseries.Panel | stat.Panel | table.Panel | statetimeline.Panel
Step = tuple[float | None, str]  # from which value on; None: the lowest


@dataclass(frozen=True)
class Query:
    """``legend``: Grafana's format, ``{{label}}`` is replaced."""

    expr: str
    legend: str = ""


class _Common(Protocol):
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: common_models.DataSourceRef) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...


P = TypeVar("P", bound=_Common)


def _headed(panel: P, title: str, description: str, unit: str, width: int, height: int) -> P:
    return panel.title(title).description(description).datasource(SOURCE).unit(unit).span(width).height(height)


def _targets(queries: Sequence[Query], *, instant: bool = False) -> list[Any]:
    made = []
    for letter, query in zip("ABCDEFGHIJ", queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expr).datasource(SOURCE)
        if query.legend:
            target = target.legend_format(query.legend)
        made.append(target.instant() if instant else target.range())
    return made


def _thresholds(steps: Sequence[Step]) -> dashboard.ThresholdsConfig:
    found = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    floor: float | None = 0,
    steps: Sequence[Step] = (),
    width: int = 8,
    link: dashboard.DashboardLink | None = None,
) -> timeseries.Panel:
    """Values over time. ``stacked``: as bars on one another; ``steps``: drawn as lines."""
    panel = _headed(timeseries.Panel(), title, description, unit, width, 8).targets(_targets(queries))
    panel = panel.legend(common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM))
    panel = panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    panel = panel.show_points(common_models.VisibilityMode.NEVER).fill_opacity(8)
    if floor is not None:
        panel = panel.min(floor)
    if stacked:
        normal = common.StackingConfig().mode(common_models.StackingMode.NORMAL)
        panel = panel.draw_style(common_models.GraphDrawStyle.BARS).stacking(normal).fill_opacity(80)
    if steps:
        lines = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(lines)
    for name, color in COLORS.items():
        panel = panel.override_by_name(name, [_color(color)])
    return panel.data_links([link]) if link is not None else panel


def _color(name: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": name})


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Sequence[Step] = ((None, "text"),),
    names: bool = False,
    width: int = 4,
) -> stat.Panel:
    """The latest value, large. ``names``: the legend is what matters."""
    mode = common_models.BigValueTextMode.NAME if names else common_models.BigValueTextMode.AUTO
    latest = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    panel = _headed(stat.Panel(), title, description, unit, width, 4).targets(_targets(queries, instant=True))
    panel = panel.reduce_options(latest).text_mode(mode).graph_mode(common_models.BigValueGraphMode.NONE)
    return panel.thresholds(_thresholds(steps)).color_mode(common_models.BigValueColorMode.VALUE)


def states(
    title: str, description: str, query: Query, mapping: dict[str, tuple[str, str]], width: int = 24
) -> statetimeline.Panel:
    """Which of several states over time; ``mapping``: value -> text and colour."""
    panel = _headed(statetimeline.Panel(), title, description, "none", width, 7).targets(_targets([query]))
    texts = {value: models.ValueMappingResult(text=text, color=color) for value, (text, color) in mapping.items()}
    return panel.mappings([models.ValueMap(options=texts)]).show_value(common_models.VisibilityMode.NEVER)


@dataclass(frozen=True)
class Column:
    """``name``: heading; empty for one of which only the labels are shown. ``unit`` and ``steps`` as elsewhere."""

    name: str
    expr: str
    unit: str = "none"
    steps: Sequence[Step] = ()
    decimals: int | None = None


def rows(
    title: str,
    description: str,
    keys: dict[str, str],
    columns: Sequence[Column],
    link: dashboard.DashboardLink,
    leads: str,
) -> table.Panel:
    """One row for each combination of the labels ``keys`` (label -> heading). ``leads``: the label with the link."""
    panel = _headed(table.Panel(), title, description, "none", COLUMNS, 9)
    targets = _targets([Query(column.expr) for column in columns], instant=True)
    panel = panel.targets([target.format(PromQueryFormat.TABLE) for target in targets])
    values = {f"Value #{letter}": column for letter, column in zip("ABCDEFGHIJ", columns, strict=False)}
    order = [*keys, *values]
    organise = {
        "excludeByName": {"Time": True, **{name: True for name, column in values.items() if not column.name}},
        "indexByName": {name: index for index, name in enumerate(order)},
        "renameByName": {**keys, **{name: column.name for name, column in values.items() if column.name}},
    }
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organise))
    for column in filter(lambda column: column.name, columns):
        panel = panel.override_by_name(column.name, _properties(column))
    return panel.override_by_name(keys[leads], [models.DynamicConfigValue(id_val="links", value=[link.build()])])


def _properties(column: Column) -> list[models.DynamicConfigValue]:
    found = [models.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.decimals is not None:
        found.append(models.DynamicConfigValue(id_val="decimals", value=column.decimals))
    if column.steps:
        found.append(models.DynamicConfigValue(id_val="thresholds", value=_thresholds(column.steps).build()))
        found.append(models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}))
    return found
