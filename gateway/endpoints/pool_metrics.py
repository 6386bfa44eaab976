"""Gauges of pools and endpoints, computed at each scrape, so that the series of a removed endpoint vanish."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.admission import BANDS
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.router import EndpointState


class PoolCollector(Collector):
    """Load and capacity of each pool. A pool without endpoints has zeros, so that autoscalers and alerts see it."""

    def __init__(
        self,
        pools: Iterable[str],
        endpoints: Callable[[], Iterable[Endpoint]],
        depths: Callable[[], Counter[tuple[str, str]]],
    ) -> None:
        self._pools = tuple(pools)
        self._endpoints = endpoints
        self._depths = depths

    def collect(self) -> Iterator[Metric]:
        """Yields the gauges as they are now."""
        running: Counter[str] = Counter()
        capacity: Counter[str] = Counter()
        ages = GaugeMetricFamily(
            "sensorium_gateway_load_report_age_seconds",
            "Time since an endpoint last reported its models and their capacity.",
            labels=("pool", "endpoint"),
        )
        for endpoint in self._endpoints():
            running[endpoint.pool] += endpoint.in_flight
            capacity[endpoint.pool] += endpoint.capacity
            if endpoint.learned and endpoint.state is not EndpointState.DRAINING:
                ages.add_metric((endpoint.pool, endpoint.address), time.monotonic() - endpoint.learned_at)
        yield ages
        yield self._gauge(
            "inflight_requests", "Calls of this gateway that endpoints of a pool are working on.", running
        )
        yield self._gauge("pool_capacity", "Calls that the ready endpoints of a pool can work on at once.", capacity)
        depths = self._depths()
        yield self._queues(depths)
        saturation = {
            pool: (running[pool] + sum(depths[pool, band] for band in BANDS)) / max(capacity[pool], 1)
            for pool in self._pools
        }
        text = "Waiting and running calls, divided by the pool's capacity (by 1 if it has none)."
        yield self._gauge("pool_saturation", text, saturation)

    def _queues(self, depths: Counter[tuple[str, str]]) -> Metric:
        family = GaugeMetricFamily(
            "sensorium_gateway_queue_depth",
            "Calls waiting for an endpoint of a pool, by priority: high (above 0), normal, low.",
            labels=("pool", "priority"),
        )
        for pool in self._pools:
            for band in BANDS:
                family.add_metric((pool, band), depths[pool, band])
        return family

    def _gauge(self, name: str, text: str, values: "Counter[str] | dict[str, float]") -> Metric:
        family = GaugeMetricFamily(f"sensorium_gateway_{name}", text, labels=("pool",))
        for pool in self._pools:
            family.add_metric((pool,), values[pool])
        return family


class EndpointCollector(Collector):
    """Number of endpoints by state, and calls in flight at each.

    `pools` are the names of all pools: one without endpoints has zeros, so that alerts see it.
    """

    def __init__(self, pools: Iterable[str], endpoints: Callable[[], Iterable[Endpoint]]) -> None:
        self._pools = tuple(pools)
        self._endpoints = endpoints

    def collect(self) -> Iterator[Metric]:
        """Yields the gauges as they are now."""
        found: Counter[tuple[str, EndpointState]] = Counter()
        # An address may occur twice: a draining endpoint, and the one that replaced it.
        running: Counter[tuple[str, str]] = Counter()
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
            "Calls of this gateway that an endpoint is working on.",
            labels=("pool", "endpoint"),
        )
        for key, calls in running.items():
            loads.add_metric(key, calls)
        yield loads
