"""Counters and histograms of the gateway's calls. Label values are bounded: tasks, served models, codes, pools.

The gauges, which are computed at each scrape, are in `endpoints/pool_metrics`.
"""

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.endpoints.ejection import EJECTED_FOR
from gateway.relay.call import BEFORE_FIRST_TOKEN, CALL, PHASES, STREAMING, Call
from sensorium.buckets import DURATION_SECONDS, FIRST_TOKEN_SECONDS, PER_TOKEN_SECONDS
from sensorium.call_record import CALL_RECORD
from sensorium.rpc import consumption_of
from sensorium.v1.common_pb2 import Usage

_LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_OTHER = "other"

OUTCOMES = ("direct", "dispatched", "full", "deadline", "expired", "unserved", "cancelled")
"""Values of the `outcome` label: how admission of a call ended."""


class GatewayMetrics:
    """Declares the metrics in a registry, and observes the server's calls (`started` and `finished`).

    `task_of` and `modality_of` map a method's name to its labels. `knows` tells whether a model is served; names that
    are not come from callers, so they are unbounded and get the label `other`.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        task_of: Callable[[str], str],
        modality_of: Callable[[str], str],
        knows: Callable[[str], bool],
    ) -> None:
        self._task_of = task_of
        self._modality_of = modality_of
        self._knows = knows
        self._declare_counts(registry)
        self._declare_faults(registry)
        self._declare_times(registry)

    def _declare_counts(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        self.requests = counter(
            "sensorium_gateway_requests_total", "Ended calls, by gRPC code.", ("task", "model", "code")
        )
        self.tokens = counter(
            "sensorium_gateway_tokens_total",
            "Input and output tokens, as reported by endpoints; modality is that of the service.",
            ("task", "model", "direction", "modality"),
        )
        self.cancellations = counter(
            "sensorium_gateway_cancellations_total",
            "Calls cancelled by the client: in the queue, before_first_message, before_first_token, or streaming.",
            ("phase",),
        )
        self.routes = counter(
            "sensorium_gateway_route_total",
            "Routing decisions, by reason: only, least_in_flight or retry; or why no endpoint was chosen.",
            ("reason",),
        )
        self.admission = counter(
            "sensorium_gateway_admission_total",
            "Calls by outcome of admission: direct, dispatched from the queue, or refused: full, deadline, expired, "
            "unserved, cancelled.",
            ("pool", "outcome"),
        )

    def _declare_faults(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        self.attempts = counter(
            "sensorium_gateway_attempts_total",
            "Attempts at endpoints, by result: ok, error, lost, retried, resumed, or budget_exhausted; reason is the "
            "gRPC code, SILENT, NO_ANSWER, or CANNOT_GO_ON.",
            ("result", "reason"),
        )
        self.resumes = counter(
            "sensorium_gateway_stream_resumes_total",
            "Streams of generated text whose endpoint was lost, by result: resumed by another endpoint; or why not: "
            "refused, no_endpoint, not_kept, too_large.",
            ("result",),
        )
        self.broken = counter(
            "sensorium_gateway_streams_broken_total",
            "Streams that broke because their endpoint was lost after the first message and none resumed them: "
            "before_first_token, or streaming.",
            ("phase",),
        )
        self.ejections = counter(
            "sensorium_gateway_ejections_total",
            "Endpoints taken out of routing, by reason: failures_in_a_row, failure_ratio, probe_failed.",
            ("pool", "reason"),
        )

    def _declare_times(self, registry: CollectorRegistry) -> None:
        histogram = partial(Histogram, registry=registry)
        self.duration = histogram(
            "sensorium_gateway_request_duration_seconds",
            "Time from a call's arrival to its end.",
            ("task", "model"),
            buckets=DURATION_SECONDS,
        )
        self.model_duration = histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from a call's arrival to its end.",
            ("model",),
            buckets=DURATION_SECONDS,
        )
        self.first_token = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a call's arrival to its first relayed delta.",
            ("model",),
            buckets=FIRST_TOKEN_SECONDS,
        )
        self.per_token = histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Mean time per output token of a stream, after the first.",
            ("model",),
            buckets=PER_TOKEN_SECONDS,
        )
        self.queue_wait = histogram(
            "sensorium_gateway_queue_wait_seconds",
            "Time in the queue, by outcome of admission; 0 for calls that did not wait.",
            ("pool", "outcome"),
            buckets=DURATION_SECONDS,
        )
        self.loop_lag = histogram(
            "sensorium_gateway_event_loop_lag_seconds",
            "Delay of a timer of the event loop beyond its schedule.",
            buckets=_LAGS,
        )

    def begin(self, pools: Iterable[str]) -> None:
        """Creates series used in alerts at zero: Prometheus sees no increase when a series first appears at one."""
        for pool in pools:
            for outcome in OUTCOMES:
                self.admission.labels(pool, outcome)
            for reason in EJECTED_FOR:
                self.ejections.labels(pool, reason)
        for phase in PHASES:
            self.cancellations.labels(phase)
        for phase in (BEFORE_FIRST_TOKEN, STREAMING):
            self.broken.labels(phase)
        for result in ("resumed", "refused", "no_endpoint", "not_kept", "too_large"):
            self.resumes.labels(result)
        for result in ("lost", "retried", "resumed", "budget_exhausted"):
            self.attempts.labels(result, StatusCode.UNAVAILABLE.name)

    def started(self, method: str) -> None:
        """Starts the `Call` record of the current asyncio task."""
        del method
        CALL.set(Call())

    def finished(self, method: str, code: StatusCode, seconds: float) -> None:
        """Counts a call that ended with `code`, `seconds` after its arrival."""
        call = CALL.get()
        task, model = self._task_of(method), self.model_label(call.model)
        self.requests.labels(task, model, code.name).inc()
        _observe(self.duration.labels(task, model), seconds)
        _observe(self.model_duration.labels(model), seconds)
        if code is StatusCode.CANCELLED:
            self.cancellations.labels(call.phase).inc()
        if call.usage is not None:
            self._count_tokens(task, model, self._modality_of(method), call.usage)
        if (record := CALL_RECORD.get()) is not None:
            record.model = model
            record.consumption = None if call.usage is None else consumption_of(call.usage)
        if (per_token := call.seconds_per_token()) is not None:
            _observe(self.per_token.labels(model), per_token)

    def admitted(self, pool: str, outcome: str, waited: float) -> None:
        """Counts the end of a call's admission, after `waited` seconds in the queue; `outcome` is one of OUTCOMES."""
        self.admission.labels(pool, outcome).inc()
        _observe(self.queue_wait.labels(pool, outcome), waited)

    def first_token_relayed(self, call: Call) -> None:
        """Records the time to the first token of a call, and that it streams from now on."""
        call.phase = STREAMING
        call.first_token = perf_counter()
        _observe(self.first_token.labels(self.model_label(call.model)), call.first_token - call.begun)

    def model_label(self, model: str) -> str:
        """Returns `model` if it is served, else `other`."""
        return model if self._knows(model) else _OTHER

    def _count_tokens(self, task: str, model: str, modality: str, usage: Usage) -> None:
        for direction, count in (("input", usage.input_token_count), ("output", usage.output_token_count)):
            if count > 0:
                self.tokens.labels(task, model, direction, modality).inc(count)


def _observe(histogram: Histogram, seconds: float) -> None:
    """Observes a value of the current task's call, with its trace or request id as exemplar."""
    record = CALL_RECORD.get()
    histogram.observe(seconds, record.exemplar if record is not None else None)
