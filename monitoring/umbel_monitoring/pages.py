"""What both pages share: names, variables, the way from one to the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from umbel_monitoring.panels import SOURCE, Panel

JOBS, JOB = "umbel-jobs", "umbel-job"  # uids: part of the pages' addresses
TITLES = {JOBS: "Umbel: jobs", JOB: "Umbel: job"}
TAG = "umbel"
KNOWN = '{__name__=~"fl_job_round|fl_federatedjob_round"}'  # what a server or an operator says of a job
SELECTED = 'fl_namespace=~"$namespace", fl_job=~"$job"'

Rows = Sequence[tuple[str, Sequence[Panel]]]


def by_job(metric: str, how: str = "max", *labels: str, where: str = "") -> str:
    """One series a job (and ``labels``), whichever pod it came from."""
    selector = f"{SELECTED}, {where}" if where else SELECTED
    return f"{how} by ({', '.join(('fl_namespace', 'fl_job', *labels))}) ({metric}{{{selector}}})"


def per_interval(metric: str, *labels: str, where: str = "") -> str:
    """How much a counter grew, for each interval that is drawn."""
    selector = f"{SELECTED}, {where}" if where else SELECTED
    return f"sum by ({', '.join(labels)}) (increase({metric}{{{selector}}}[$__rate_interval]))"


def to_job() -> dashboard.DashboardLink:
    """From a value to the page of its job."""
    address = (
        f"/d/{JOB}?${{datasource:queryparam}}&var-namespace=${{__field.labels.fl_namespace}}"
        "&var-job=${__field.labels.fl_job}&${__url_time_range}"
    )
    return dashboard.DashboardLink("The job's page").url(address).target_blank(False)


def to_job_of_row() -> dashboard.DashboardLink:
    address = (
        f"/d/{JOB}?${{datasource:queryparam}}&var-namespace=${{__data.fields.Namespace}}"
        "&var-job=${__data.fields.Job}&${__url_time_range}"
    )
    return dashboard.DashboardLink("The job's page").url(address).target_blank(False)


def page(uid: str, description: str, span: str, content: Rows, *, one_job: bool) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(TITLES[uid])
        .uid(uid)
        .description(description)
        .tags([TAG])
        .refresh("30s")
        .time(f"now-{span}", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Umbel")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in _variables(one_job):
        made = made.with_variable(variable)
    number = itertools.count(1)  # Grafana's addresses of single panels
    for title, panels in content:
        made = made.with_row(dashboard.Row(title).id(next(number)))
        for panel in panels:
            made = made.with_panel(panel.id(next(number)))
    return made


def _variables(one_job: bool) -> list[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    namespace = _values("namespace", "Namespace", f"label_values({KNOWN}, fl_namespace)", one_job)
    within = KNOWN.removesuffix("}") + ', fl_namespace=~"$namespace"}'
    return [source, namespace, _values("job", "Job", f"label_values({within}, fl_job)", one_job)]


def _values(name: str, label: str, query: str, one: bool) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": "A"})
        .definition(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    return made if one else made.multi(True).include_all(True).all_value(".*")
