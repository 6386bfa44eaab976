"""What is promised and kept, how much room is left, and what it costs."""

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
        description=f"Promised: {objective.share:.1%} of {objective.promise}. The model that keeps it least.",
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
        description="Of what may fail in 30 days, the share that is left. Below 0 the promise is broken.",
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
        description="How many times too fast the budget is spent, by the model that spends most. Lines: the alerts.",
        queries=[Query(f"max ({ratio(window)}{_which(objective)}) / {objective.budget}", window) for window in windows],
        steps=PACES,
    )


_PROMISES = Row("Promises", [build(objective) for build in (_good, _left, _burn) for objective in OBJECTIVES])

_EVENTS = Row(
    "What is counted",
    [
        Panel(
            title="Events",
            description="Calls and streams that the promises are about, per second over an hour, by model.",
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
            description="Queued and running requests by what the pool does at once. Pools grow from 0.7 on.",
            queries=[Query(f"{SATURATION}{{{POOL}}}", "{{pool}}")],
            unit="percentunit",
            steps=[Step(0.7, "orange"), Step(1, "red")],
        ),
        Panel(
            title="Work and capacity",
            description="Queued and running requests over all gateways, and what the pool does at once.",
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
            description="Wanted by the autoscaler, there, and the most it may have.",
            queries=[
                Query(
                    f"max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_{gauge}{{{HPA}}})",
                    f"{{{{horizontalpodautoscaler}}}} {word}",
                )
                for gauge, word in (
                    ("status_desired_replicas", "wanted"),
                    ("status_current_replicas", "there"),
                    ("spec_max_replicas", "most"),
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
            description="From a replica's start until its model answers: what a cold start adds to the pod's own.",
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
            description="It is longest while a pool comes back from zero.",
            queries=[Query(quantile(0.99, "sensorium_gateway_queue_wait_seconds", POOL, "pool"), "{{pool}}")],
            unit="s",
        ),
        Panel(
            title="GPU-seconds per 1,000 tokens",
            description="Replicas, each of which holds one device, by thousands of tokens they generate in a second.",
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
    description="What is promised and kept, how much room is left, and what it costs.",
    variables=[
        Variable("namespace", "sensorium_gateway_requests_total"),
        Variable("model", "sensorium_gateway_requests_total"),
        Variable("pool", "sensorium_gateway_endpoints"),
    ],
    rows=[_PROMISES, _EVENTS, _CAPACITY, _COST],
)
