"""Fake metrics of DCGM, kube-state-metrics and cert-manager, which a stack without GPU or cluster lacks."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from local.scraping import NAMESPACE

SERIES: dict[str, tuple[dict[str, str], float]] = {
    **{
        f"DCGM_FI_DEV_{name}": ({"Hostname": "node-1", "gpu": "0", "pod": "sensorium-text-0"}, value)
        for name, value in (
            ("GPU_UTIL", 87.0),
            ("FB_USED", 40_000.0),
            ("POWER_USAGE", 310.0),
            ("GPU_TEMP", 61.0),
            ("XID_ERRORS", 0.0),
        )
    },
    **{
        f"kube_horizontalpodautoscaler_{name}": ({"horizontalpodautoscaler": "keda-hpa-sensorium-text"}, value)
        for name, value in (
            ("status_desired_replicas", 2.0),
            ("status_current_replicas", 2.0),
            ("spec_max_replicas", 8.0),
        )
    },
    "kube_pod_status_phase": ({"pod": "sensorium-text-0", "phase": "Pending"}, 0.0),
    **{
        f"kube_pod_container_status_{name}": ({"pod": "sensorium-text-0", "container": "server"}, value)
        for name, value in (
            ("restarts_total", 1.0),
            ("last_terminated_exitcode", 0.0),
            ("last_terminated_timestamp", 1e9),
        )
    },
    "kube_pod_container_status_waiting_reason": (
        {"pod": "sensorium-text-0", "container": "server", "reason": "ImagePullBackOff"},
        0.0,
    ),
    "certmanager_certificate_expiration_timestamp_seconds": ({"name": "sensorium-gateway"}, 4e9),
}
"""By metric name: its labels besides the namespace, and its value."""


@contextmanager
def exporter() -> Iterator[int]:
    """Serves the metrics on a free port; yields the port."""
    registry = CollectorRegistry()
    for name, (labels, value) in SERIES.items():
        kind = Counter if name.endswith("_total") else Gauge
        series = kind(name, "Of others.", ["namespace", *labels], registry=registry).labels(NAMESPACE, *labels.values())
        series.inc(value)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
