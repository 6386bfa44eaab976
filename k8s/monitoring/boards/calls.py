"""Rows of the gateway's board about calls: rates, codes, durations, streams and tokens."""

from k8s.monitoring.board import Row
from k8s.monitoring.boards.selection import CALLS, MODEL, POOL
from k8s.monitoring.objectives import AVAILABILITY, FIRST_TOKEN, OUR_FAULT, TOKEN_PACE
from k8s.monitoring.panel import Panel, Query, Step
from k8s.monitoring.promql import mean, or_zero, quantile, rate, seldom, total

REQUESTS = "sensorium_gateway_requests_total"
_DURATION = "sensorium_gateway_request_duration_seconds"
_FIRST = "gen_ai_server_time_to_first_token_seconds"
_PACE = "gen_ai_server_time_per_output_token_seconds"
_FAILED = f'{CALLS}, code=~"{"|".join(OUR_FAULT)}"'
_SLOW_FIRST, _SLOW_PACE = ([Step(each.threshold or 0, "red")] for each in (FIRST_TOKEN, TOKEN_PACE))

GLANCE = Row(
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
            queries=[Query(f"({or_zero(rate(REQUESTS, _FAILED))})\n/\n{rate(REQUESTS, CALLS)}")],
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            steps=[Step(AVAILABILITY.budget / 5, "yellow"), Step(AVAILABILITY.budget, "red")],
        ),
        Panel(
            title="First token, p99",
            description="Of streams: from the call's arrival to the first piece relayed.",
            queries=[Query(quantile(0.99, _FIRST, MODEL))],
            unit="s",
            kind="stat",
            width=4,
            height=4,
            steps=_SLOW_FIRST,
        ),
        Panel(
            title="Tokens generated",
            description="By all models, per second, as endpoints report at the end of each call.",
            queries=[Query(or_zero(rate("sensorium_gateway_tokens_total", f'{CALLS}, direction="output"')))],
            unit="count:tok/s",
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Running and queued",
            description="Requests that run on endpoints, and those that wait for one.",
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
            description="Replicas that get calls, by the gateway that sees most of them.",
            queries=[Query(f'sum (max by (namespace, pool) (sensorium_gateway_endpoints{{{POOL}, state="ready"}}))')],
            kind="stat",
            width=4,
            height=4,
            base="red",
            steps=[Step(1, "green")],
        ),
    ],
)

ASKED = Row(
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
            queries=[Query(quantile(share, _DURATION, CALLS), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
            exemplars=True,
        ),
        Panel(
            title="Duration by task, p95",
            description="Which kind of call takes long.",
            queries=[Query(quantile(0.95, _DURATION, CALLS, "task"), "{{task}}")],
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

STREAMS = Row(
    "Streams and tokens",
    [
        Panel(
            title="First token",
            description=f"Objective: {FIRST_TOKEN.share:.0%} of {FIRST_TOKEN.promise}.",
            queries=[Query(quantile(share, _FIRST, MODEL), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
            steps=_SLOW_FIRST,
            exemplars=True,
        ),
        Panel(
            title="Time per token after the first",
            description=f"A stream's mean. Objective: {TOKEN_PACE.share:.0%} of {TOKEN_PACE.promise}.",
            queries=[Query(quantile(share, _PACE, MODEL), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            unit="s",
            steps=_SLOW_PACE,
            exemplars=True,
        ),
        Panel(
            title="Tokens by modality",
            description="Read (input) and generated (output), by the modality of the service.",
            unit="count:tok/s",
            queries=[
                Query(
                    seldom("sensorium_gateway_tokens_total", CALLS, "modality, direction"),
                    "{{modality}} {{direction}}",
                )
            ],
        ),
    ],
)
