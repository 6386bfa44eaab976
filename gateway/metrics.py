"""Every metric of the gateway. Label values are bounded: methods and models that are served, codes, endpoints."""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.endpoint import Endpoint
from gateway.router import EndpointState
from sensorium.buckets import DURATION_SECONDS, FIRST_TOKEN_SECONDS

_LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_OTHER = "other"


@dataclass
class Call:
    """What is measured of one call beside its method and code."""

    model: str = ""
    phase: str = "before_first_message"
    begun: float = field(default_factory=perf_counter)


CALL: ContextVar[Call] = ContextVar("call")
"""The call that the current task relays."""


class GatewayMetrics:
    """The metrics, and the observer that counts calls.

    `task_of` gives the `task` label of a method; `knows` tells whether a model is one that is served: all other names
    are the caller's, without bound, and become `other`.
    """

    def __init__(
        self, registry: CollectorRegistry, task_of: Callable[[str], str], knows: Callable[[str], bool]
    ) -> None:
        self._task_of = task_of
        self._knows = knows
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        self.requests = counter("sensorium_gateway_requests_total", "Calls ended.", ("task", "model", "code"))
        self.duration = histogram(
            "sensorium_gateway_request_duration_seconds",
            "From a call's arrival to its end.",
            ("task", "model"),
            buckets=DURATION_SECONDS,
        )
        self.in_flight = Gauge("sensorium_gateway_inflight_requests", "Calls running.", registry=registry)
        self.attempts = counter(
            "sensorium_gateway_attempts_total",
            "Calls to endpoints, by how they ended: ok, error, retried, lost; reason is the gRPC code.",
            ("result", "reason"),
        )
        self.cancellations = counter(
            "sensorium_gateway_cancellations_total", "Calls cancelled by the client.", ("phase",)
        )
        self.routes = counter(
            "sensorium_gateway_route_total",
            "Endpoints chosen, by why: only, least_in_flight, retry; or why there was none.",
            ("reason",),
        )
        self.loop_lag = histogram(
            "sensorium_gateway_event_loop_lag_seconds",
            "How much later than asked the event loop woke a sleeper.",
            buckets=_LAGS,
        )
        self.first_token = histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "From a call's arrival to the first delta relayed.",
            ("model",),
            buckets=FIRST_TOKEN_SECONDS,
        )

    def started(self, method: str) -> None:
        """Begins the record of the current task's call."""
        del method
        CALL.set(Call())
        self.in_flight.inc()

    def finished(self, method: str, code: StatusCode, seconds: float) -> None:
        """Counts the call."""
        call = CALL.get()
        task, model = self._task_of(method), self.model_label(call.model)
        self.in_flight.dec()
        self.requests.labels(task, model, code.name).inc()
        self.duration.labels(task, model).observe(seconds)
        if code is StatusCode.CANCELLED:
            self.cancellations.labels(call.phase).inc()

    def first_token_relayed(self, call: Call) -> None:
        """Measures the time to the first token of a call."""
        self.first_token.labels(self.model_label(call.model)).observe(perf_counter() - call.begun)

    def model_label(self, model: str) -> str:
        """Returns `model` if it is served, else `other`."""
        return model if self._knows(model) else _OTHER


class EndpointCollector(Collector):
    """Gauges of endpoints, read when they are scraped, so that an endpoint's go when it goes.

    `pools` are the names of all pools: one without endpoints has zeros, for which an alert can ask.
    """

    def __init__(self, pools: Iterable[str], endpoints: Callable[[], Iterable[Endpoint]]) -> None:
        self._pools = tuple(pools)
        self._endpoints = endpoints

    def collect(self) -> Iterator[Metric]:
        """Yields the gauges as they are now."""
        found: Counts[tuple[str, EndpointState]] = Counts()
        # An address may be there twice: the one that leaves, and the one that took its place.
        running: Counts[tuple[str, str]] = Counts()
        for endpoint in self._endpoints():
            found[endpoint.pool, endpoint.state] += 1
            running[endpoint.pool, endpoint.address] += endpoint.in_flight
        states = GaugeMetricFamily("sensorium_gateway_endpoints", "Endpoints by state.", labels=("pool", "state"))
        for pool in self._pools:
            for state in EndpointState:
                states.add_metric((pool, state.value), found[pool, state])
        yield states
        loads = GaugeMetricFamily(
            "sensorium_gateway_endpoint_inflight",
            "Calls an endpoint works on for this gateway.",
            labels=("pool", "endpoint"),
        )
        for key, calls in running.items():
            loads.add_metric(key, calls)
        yield loads
