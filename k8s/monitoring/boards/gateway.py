"""The gateway: what callers ask, what they get, and what stands between."""

from k8s.monitoring.board import Board, Row, Variable
from k8s.monitoring.objectives import AVAILABILITY, FIRST_TOKEN, OUR_FAULT, TOKEN_PACE
from k8s.monitoring.panel import Panel, Query, Step
from k8s.monitoring.promql import mean, or_zero, quantile, rate, seldom, total

REQUESTS = "sensorium_gateway_requests_total"
DURATION = "sensorium_gateway_request_duration_seconds"
FIRST = "gen_ai_server_time_to_first_token_seconds"
PACE = "gen_ai_server_time_per_output_token_seconds"
WAIT = "sensorium_gateway_queue_wait_seconds"

HERE = 'namespace=~"$namespace"'
CALLS = f'{HERE}, task=~"$task", model=~"$model"'
MODEL = f'{HERE}, model=~"$model", model!=""'
POOL = f'{HERE}, pool=~"$pool"'
FAILED = f'{CALLS}, code=~"{"|".join(OUR_FAULT)}"'

_SLOW_FIRST, _SLOW_PACE = ([Step(each.threshold or 0, "red")] for each in (FIRST_TOKEN, TOKEN_PACE))

_TOP = Row(
    "At a glance",
    [
        Panel(
            title="Requests",
            description="Calls that ended, of every kind, per second.",
            queries=[Query(or_zero(rate(REQUESTS, CALLS)))],
            unit="reqps",
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Failed by our fault",
            description="Share of calls with a code that counts against availability; the caller's mistakes do not.",
            queries=[Query(f"({or_zero(rate(REQUESTS, FAILED))})\n/\n{rate(REQUESTS, CALLS)}")],
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            steps=[Step(AVAILABILITY.budget / 5, "yellow"), Step(AVAILABILITY.budget, "red")],
        ),
        Panel(
            title="First token, p99",
            description="Of streams: from the call's arrival to the first piece relayed.",
            queries=[Query(quantile(0.99, FIRST, MODEL))],
            unit="s",
            kind="stat",
            width=4,
            height=4,
            steps=_SLOW_FIRST,
        ),
        Panel(
            title="Tokens generated",
            description="By all models, per second, as endpoints tell at the end of each call.",
            queries=[Query(or_zero(rate("sensorium_gateway_tokens_total", f'{CALLS}, direction="output"')))],
            unit="short",
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Running and queued",
            description="Requests that endpoints work on, and those that wait for one.",
            queries=[
                Query(total("sensorium_gateway_inflight_requests", POOL), "running"),
                Query(total("sensorium_gateway_queue_depth", POOL), "queued"),
            ],
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Endpoints ready",
            description="Replicas that get work, as the gateway sees them that sees most.",
            queries=[Query(f'sum (max by (namespace, pool) (sensorium_gateway_endpoints{{{POOL}, state="ready"}}))')],
            kind="stat",
            width=4,
            height=4,
            base="red",
            steps=[Step(1, "green")],
        ),
    ],
)

_CALLS = Row(
    "Calls",
    [
        Panel(
            title="Requests by task",
            description="Calls that ended, by the task of their method.",
            queries=[Query(rate(REQUESTS, CALLS, "task"), "{{task}}")],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Requests by model",
            description="A name that nobody serves is `other`.",
            queries=[Query(rate(REQUESTS, CALLS, "model"), "{{model}}")],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Ends other than OK",
            description="By gRPC code. INVALID_ARGUMENT, NOT_FOUND and CANCELLED are the caller's own.",
            queries=[Query(seldom(REQUESTS, f'{CALLS}, code!="OK"', "code"), "{{code}}")],
            unit="reqps",
        ),
        Panel(
            title="Duration",
            description="From a call's arrival to its end; a stream's whole length.",
            queries=[Query(quantile(share, DURATION, CALLS), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
            exemplars=True,
        ),
        Panel(
            title="Duration by task, p95",
            description="Which kind of call takes long.",
            queries=[Query(quantile(0.95, DURATION, CALLS, "task"), "{{task}}")],
            unit="s",
        ),
        Panel(
            title="Duration by model, mean",
            description="The standard metric of the GenAI conventions, as other gateways export it.",
            queries=[Query(mean("gen_ai_server_request_duration_seconds", MODEL, "model"), "{{model}}")],
            unit="s",
        ),
    ],
)

_STREAMS = Row(
    "Streams and tokens",
    [
        Panel(
            title="First token",
            description=f"Promised: {FIRST_TOKEN.share:.0%} of {FIRST_TOKEN.promise}.",
            queries=[Query(quantile(share, FIRST, MODEL), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
            steps=_SLOW_FIRST,
            exemplars=True,
        ),
        Panel(
            title="Time per token behind the first",
            description=f"A stream's mean. Promised: {TOKEN_PACE.share:.0%} of {TOKEN_PACE.promise}.",
            queries=[Query(quantile(share, PACE, MODEL), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
            steps=_SLOW_PACE,
            exemplars=True,
        ),
        Panel(
            title="Tokens by modality",
            description="Read (input) and generated (output), by the modality of the service.",
            queries=[
                Query(
                    seldom("sensorium_gateway_tokens_total", CALLS, "modality, direction"),
                    "{{modality}} {{direction}}",
                )
            ],
        ),
    ],
)

_QUEUE = Row(
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
                Query(quantile(0.5, WAIT, POOL, "pool"), "{{pool}} p50"),
                Query(quantile(0.99, WAIT, POOL, "pool"), "{{pool}} p99"),
            ],
            unit="s",
            exemplars=True,
        ),
        Panel(
            title="Admission",
            description="What became of requests at the gateway's door, before an endpoint saw them.",
            queries=[Query(seldom("sensorium_gateway_admission_total", POOL, "outcome"), "{{outcome}}")],
            unit="reqps",
        ),
        Panel(
            title="Saturation",
            description="Queued and running requests by what the pool's ready endpoints do at once. Over 1, some wait.",
            queries=[Query(total("sensorium_gateway_pool_saturation", POOL, "pool"), "{{pool}}")],
            unit="percentunit",
            steps=[Step(0.7, "orange"), Step(1, "red")],
        ),
        Panel(
            title="Running by pool",
            description="Requests that endpoints work on, over all gateways, and what the pool does at once.",
            queries=[
                Query(total("sensorium_gateway_inflight_requests", POOL, "pool"), "{{pool}}"),
                Query(f"max by (pool) (sensorium_gateway_pool_capacity{{{POOL}}})", "{{pool}} capacity"),
            ],
        ),
        Panel(
            title="Cancelled by callers",
            description="By how far the call was. Work stops within a step of the model.",
            queries=[Query(seldom("sensorium_gateway_cancellations_total", HERE, "phase"), "{{phase}}")],
            unit="reqps",
        ),
    ],
)

_FAULTS = Row(
    "Faults, and what is done about them",
    [
        Panel(
            title="Attempts",
            description="Calls to endpoints, by how they ended. More than requests are repeats on another endpoint.",
            queries=[
                Query(
                    seldom("sensorium_gateway_attempts_total", HERE, "result, reason"),
                    "{{result}} {{reason}}",
                )
            ],
            unit="reqps",
        ),
        Panel(
            title="Broken streams",
            description="Streams whose endpoint was lost after their first message, by how far they were.",
            queries=[Query(seldom("sensorium_gateway_streams_broken_total", HERE, "phase"), "{{phase}}")],
            unit="reqps",
        ),
        Panel(
            title="Resumed streams",
            description="Streams of generated text whose endpoint was lost: gone on with elsewhere, or why not.",
            queries=[Query(seldom("sensorium_gateway_stream_resumes_total", HERE, "result"), "{{result}}")],
            unit="reqps",
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
        ),
    ],
)

_ENDPOINTS = Row(
    "Endpoints",
    [
        Panel(
            title="Endpoints by state",
            description="As the gateway sees them that sees most in that state.",
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
            description="How old the oldest word is that an endpoint of the pool gave of its models.",
            queries=[Query(f"max by (pool) (sensorium_gateway_load_report_age_seconds{{{POOL}}})", "{{pool}}")],
            unit="s",
            width=12,
            steps=[Step(60, "red")],
        ),
        Panel(
            title="Lag of the event loop",
            description="How much later than asked the gateway's loop wakes: over 100 ms it needs CPU, or company.",
            queries=[
                Query(quantile(0.99, "sensorium_gateway_event_loop_lag_seconds", HERE, "instance"), "{{instance}} p99")
            ],
            unit="s",
            width=12,
            steps=[Step(0.1, "red")],
        ),
    ],
)

GATEWAY = Board(
    name="gateway",
    title="sensorium / Gateway",
    description="What callers ask, what they get, and what stands between.",
    variables=[
        Variable("namespace", REQUESTS),
        Variable("task", REQUESTS),
        Variable("model", REQUESTS),
        Variable("pool", "sensorium_gateway_endpoints"),
    ],
    rows=[_TOP, _CALLS, _STREAMS, _QUEUE, _FAULTS, _ENDPOINTS],
)
