"""Objectives and error budgets, capacity, and cost."""

from k8s.monitoring.board import Board, Row, Variable
from k8s.monitoring.boards.selection import HERE, POOL
from k8s.monitoring.burn import BURNS
from k8s.monitoring.objectives import (
    AVAILABILITY,
    FIRST_TOKEN,
    OBJECTIVES,
    PERIOD,
    TOKEN_PACE,
    Objective,
    events,
    ratio,
)
from k8s.monitoring.panel import Panel, Query, Step
from k8s.monitoring.pools import CAPACITY, READY, SATURATION, WORK
from k8s.monitoring.promql import or_zero, quantile, rate

MODEL = f'{HERE}, model=~"$model"'
HPA = f'{HERE}, horizontalpodautoscaler=~".*sensorium.*"'
PODS = f'{HERE}, pod=~"sensorium-.*"'
PACES = [Step(burn.factor, "red" if burn.severity == "critical" else "orange") for burn in reversed(BURNS)]
TITLES = {AVAILABILITY.slo: "Availability", FIRST_TOKEN.slo: "First token", TOKEN_PACE.slo: "Pace of tokens"}


def _which(objective: Objective) -> str:
    return f'{{{MODEL}, slo="{objective.slo}"}}'


def _good(objective: Objective) -> Panel:
    return Panel(
        title=f"{TITLES[objective.slo]}: good of 30 days",
        description=f"Objective: {objective.share:.1%} of {objective.promise}. The worst model counts.",
        queries=[Query(f"min (1 - {ratio(PERIOD)}{_which(objective)})")],
        unit="percentunit",
        kind="stat",
        height=4,
        lowest=None,
        base="red",
        steps=[Step(objective.share, "green")],
    )


def _left(objective: Objective) -> Panel:
    return Panel(
        title=f"{TITLES[objective.slo]}: budget left",
        description="Share of the 30 days' error budget that is left. Below 0, the objective is missed.",
        queries=[Query(f"1 - {ratio(PERIOD)}{_which(objective)} / {objective.budget}", "{{model}}")],
        unit="percentunit",
        kind="bargauge",
        highest=1,
        base="red",
        steps=[Step(0.1, "orange"), Step(0.5, "green")],
    )


def _burn(objective: Objective) -> Panel:
    windows = ("5m", "1h", "6h")
    return Panel(
        title=f"{TITLES[objective.slo]}: burn",
        description="Burn rate of the error budget, of the model with the highest. Lines: the alerts.",
        queries=[Query(f"max ({ratio(window)}{_which(objective)}) / {objective.budget}", window) for window in windows],
        steps=PACES,
    )


_OBJECTIVES = Row("Objectives", [build(objective) for build in (_good, _left, _burn) for objective in OBJECTIVES])

_EVENTS = Row(
    "Events and alerts",
    [
        Panel(
            title="Events",
            description="Calls and streams that the objectives count, per second over an hour, by model.",
            queries=[
                Query(f"sum by (slo, model) ({events('1h')}{{{MODEL}}})", "{{model}} {{slo}}"),
            ],
            unit="reqps",
            width=12,
        ),
        Panel(
            title="Alerts that fire",
            description="How many, by name and severity.",
            queries=[
                Query(
                    or_zero(
                        'sum by (alertname, severity) (ALERTS{product="sensorium", alertstate="firing"})', "alertname"
                    ),
                    "{{alertname}} {{severity}}",
                )
            ],
            width=12,
        ),
    ],
)

_CAPACITY = Row(
    "Capacity",
    [
        Panel(
            title="Saturation",
            description="Queued and running requests, divided by the pool's capacity. Pools grow from 0.7 on.",
            queries=[Query(f"{SATURATION}{{{POOL}}}", "{{pool}}")],
            unit="percentunit",
            steps=[Step(0.7, "orange"), Step(1, "red")],
        ),
        Panel(
            title="Work and capacity",
            description="Queued and running requests over all gateways, and the pool's capacity.",
            queries=[
                Query(f"{WORK}{{{POOL}}}", "{{pool}} work"),
                Query(f"{CAPACITY}{{{POOL}}}", "{{pool}} capacity"),
            ],
        ),
        Panel(
            title="Ready endpoints",
            description="As the gateways see them.",
            queries=[Query(f"{READY}{{{POOL}}}", "{{pool}}")],
        ),
        Panel(
            title="Replicas",
            description="Wanted by the autoscaler, current, and the maximum.",
            queries=[
                Query(
                    f"max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_{gauge}{{{HPA}}})",
                    f"{{{{horizontalpodautoscaler}}}} {word}",
                )
                for gauge, word in (
                    ("status_desired_replicas", "wanted"),
                    ("status_current_replicas", "current"),
                    ("spec_max_replicas", "maximum"),
                )
            ],
        ),
        Panel(
            title="Pods that wait for a machine",
            description="Mostly for a GPU that the cluster does not have yet.",
            queries=[
                Query(
                    or_zero(
                        f'sum by (pod) (kube_pod_status_phase{{{HERE}, pod=~"sensorium-.*", phase="Pending"}})', "pod"
                    ),
                    "{{pod}}",
                )
            ],
        ),
        Panel(
            title="Restarts",
            description="Containers that ended and were started again, in an hour.",
            queries=[
                Query(
                    or_zero(f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{PODS}}}[1h]))", "pod"),
                    "{{pod}}",
                )
            ],
        ),
    ],
)

_COST = Row(
    "Cold start and cost",
    [
        Panel(
            title="Time to load",
            description="From a replica's start until its model is ready, without the start of the pod.",
            queries=[
                Query(
                    f"max by (pool) (sum by (pool, instance) (sensorium_engine_model_load_seconds{{{POOL}}}))",
                    "{{pool}}",
                )
            ],
            unit="s",
            kind="bargauge",
        ),
        Panel(
            title="Wait in the queue, p99",
            description="It is longest while a pool starts from zero replicas.",
            queries=[Query(quantile(0.99, "sensorium_gateway_queue_wait_seconds", POOL, "pool"), "{{pool}}")],
            unit="s",
        ),
        Panel(
            title="GPU-seconds per 1,000 tokens",
            description="Replicas (one device each), divided by thousands of tokens generated per second.",
            queries=[
                Query(
                    f'sum by (pool) (up{{job="sensorium-model-server", {POOL}}})\n/\n'
                    f"({rate('sensorium_engine_generation_tokens_total', POOL, 'pool')} / 1000 > 0)",
                    "{{pool}}",
                )
            ],
            unit="s",
        ),
    ],
)

SLO = Board(
    name="slo",
    title="sensorium / SLO & capacity",
    description="Objectives and error budgets, capacity, and cost.",
    variables=[
        Variable("namespace", "sensorium_gateway_requests_total"),
        Variable("model", "sensorium_gateway_requests_total"),
        Variable("pool", "sensorium_gateway_endpoints"),
    ],
    rows=[_OBJECTIVES, _EVENTS, _CAPACITY, _COST],
)
