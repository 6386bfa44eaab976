"""Recording rules of the load and capacity of pools, over all gateways. Autoscalers read them."""

from k8s.monitoring.promql import BY_POOL
from k8s.monitoring.rule import Group, Recording

SATURATION = "pool:sensorium_gateway_saturation:sum"
WORK = "pool:sensorium_gateway_work:sum"
CAPACITY = "pool:sensorium_gateway_capacity:max"
READY = "pool:sensorium_gateway_ready_endpoints:max"


def _over_gateways(how: str, gauge: str, where: str = "") -> str:
    return f"{how} by ({BY_POOL}) ({gauge}{where})"


def group() -> Group:
    """Returns the recording rules.

    Each gateway counts its own queue and calls, so these are summed. All gateways see the same endpoints and capacity,
    so of these the maximum counts.
    """
    queued = _over_gateways("sum", "sensorium_gateway_queue_depth")
    running = _over_gateways("sum", "sensorium_gateway_inflight_requests")
    ready = _over_gateways("max", "sensorium_gateway_endpoints", '{state="ready"}')
    rules = [
        Recording(record=SATURATION, expr=_over_gateways("sum", "sensorium_gateway_pool_saturation")),
        Recording(record=WORK, expr=f"({queued} or 0 * {running})\n+\n({running} or 0 * {queued})"),
        Recording(record=CAPACITY, expr=_over_gateways("max", "sensorium_gateway_pool_capacity")),
        Recording(record=READY, expr=ready),
    ]
    return Group("sensorium-pools", rules)
