"""Rows of the gateway's board about queues, faults and endpoints."""

from k8s.monitoring.board import Row
from k8s.monitoring.boards.selection import HERE, POOL
from k8s.monitoring.panel import Panel, Query, Step
from k8s.monitoring.promql import quantile, seldom, total

_WAIT = "sensorium_gateway_queue_wait_seconds"

QUEUE = Row(
    "Queue and admission",
    [
        Panel(
            title="Queued by priority",
            description="Requests that wait in the gateways for an endpoint.",
            queries=[
                Query(
                    total("sensorium_gateway_queue_depth", POOL, "pool, priority"),
                    "{{pool}} {{priority}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            title="Wait in the queue",
            description="Of all requests. Those that do not wait show as up to 10 ms, the first bucket.",
            queries=[
                Query(quantile(0.5, _WAIT, POOL, "pool"), "{{pool}} p50"),
                Query(quantile(0.99, _WAIT, POOL, "pool"), "{{pool}} p99"),
            ],
            unit="s",
            exemplars=True,
        ),
        Panel(
            title="Admission",
            description="How requests got an endpoint, or why they got none.",
            queries=[Query(seldom("sensorium_gateway_admission_total", POOL, "outcome"), "{{outcome}}")],
            unit="reqps",
        ),
        Panel(
            title="Saturation",
            description="Queued and running requests, divided by the capacity of ready endpoints. Over 1, some wait.",
            queries=[Query(total("sensorium_gateway_pool_saturation", POOL, "pool"), "{{pool}}")],
            unit="percentunit",
            steps=[Step(0.7, "orange"), Step(1, "red")],
        ),
        Panel(
            title="Running by pool",
            description="Requests that run on endpoints, over all gateways, and the pool's capacity.",
            queries=[
                Query(total("sensorium_gateway_inflight_requests", POOL, "pool"), "{{pool}}"),
                Query(f"max by (pool) (sensorium_gateway_pool_capacity{{{POOL}}})", "{{pool}} capacity"),
            ],
        ),
        Panel(
            title="Cancelled by callers",
            description="By phase of the call. The model stops working on it within one step.",
            queries=[Query(seldom("sensorium_gateway_cancellations_total", HERE, "phase"), "{{phase}}")],
            unit="reqps",
        ),
    ],
)

FAULTS = Row(
    "Faults, and what is done about them",
    [
        Panel(
            title="Attempts",
            description="Calls to endpoints, by how they ended. Retries on other endpoints are included.",
            queries=[
                Query(
                    seldom("sensorium_gateway_attempts_total", HERE, "result, reason"),
                    "{{result}} {{reason}}",
                )
            ],
            unit="reqps",
            width=6,
        ),
        Panel(
            title="Broken streams",
            description="Streams whose endpoint was lost and that no other one continued, by phase.",
            queries=[Query(seldom("sensorium_gateway_streams_broken_total", HERE, "phase"), "{{phase}}")],
            unit="reqps",
            width=6,
        ),
        Panel(
            title="Resumed streams",
            description="Streams of generated text whose endpoint was lost: resumed by another one, or why not.",
            queries=[Query(seldom("sensorium_gateway_stream_resumes_total", HERE, "result"), "{{result}}")],
            unit="reqps",
            width=6,
        ),
        Panel(
            title="Ejections",
            description="Endpoints that get no work for a while because calls to them failed.",
            queries=[
                Query(
                    seldom("sensorium_gateway_ejections_total", POOL, "pool, reason"),
                    "{{pool}} {{reason}}",
                )
            ],
            unit="cps",
            width=6,
        ),
    ],
)

ENDPOINTS = Row(
    "Endpoints",
    [
        Panel(
            title="Endpoints by state",
            description="By the gateway that sees most endpoints in that state.",
            queries=[
                Query(
                    f"sum by (state) (max by (namespace, pool, state) (sensorium_gateway_endpoints{{{POOL}}}))",
                    "{{state}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            title="Spread of work",
            description="The busiest and the idlest endpoint of a pool: they should be close.",
            queries=[
                Query(f"{how} by (pool) (sensorium_gateway_endpoint_inflight{{{POOL}}})", f"{{{{pool}}}} {how}")
                for how in ("max", "min")
            ],
        ),
        Panel(
            title="Choices",
            description="Why an endpoint was chosen, or why there was none.",
            queries=[Query(seldom("sensorium_gateway_route_total", HERE, "reason"), "{{reason}}")],
            unit="reqps",
        ),
        Panel(
            title="Age of load reports",
            description="Age of the oldest report of models among the endpoints of a pool.",
            queries=[Query(f"max by (pool) (sensorium_gateway_load_report_age_seconds{{{POOL}}})", "{{pool}}")],
            unit="s",
            steps=[Step(60, "red")],
        ),
        Panel(
            title="Lag of the event loop",
            description="How late timers of the gateway's event loop fire. Over 100 ms, it needs more CPU or gateways.",
            queries=[
                Query(quantile(0.99, "sensorium_gateway_event_loop_lag_seconds", HERE, "instance"), "{{instance}} p99")
            ],
            unit="s",
            steps=[Step(0.1, "red")],
        ),
        Panel(
            title="Log lines dropped",
            description="Log lines of all processes, dropped because their reader was too slow.",
            queries=[
                Query(f"sum by (instance) (rate(sensorium_log_lines_dropped_total{{{HERE}}}[5m]))", "{{instance}}")
            ],
            unit="cps",
            steps=[Step(1, "red")],
        ),
    ],
)
