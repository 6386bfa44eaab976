"""What there is to ask for: metrics of the code's registries, and of programs of others."""

import ast

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.utils import floatToGoString

from gateway.endpoints.router import EndpointState
from gateway.metrics import OUTCOMES
from k8s.monitoring.files import FOLDER
from k8s.monitoring.objectives import OBJECTIVES
from sensorium.tasks import SERVICES
from tests.docs.metrics_page import engine_registry, gateway_registry, labels_of
from tests.k8s.monitoring.expression import Metrics, Values

TARGET = frozenset({"namespace", "job", "instance", "pod"})
"""Labels that scraping adds: those of the operator's PodMonitors, and of local/observe."""
SERVER_TARGET = TARGET | {"pool", "modality"}
"""A model server's own metrics know neither its pool nor its modality: the PodMonitor tells them."""

FOREIGN: Metrics = {
    "up": SERVER_TARGET,
    "ALERTS": frozenset({"alertname", "alertstate", "severity", "product"}),
    # NVIDIA's DCGM exporter.
    "DCGM_FI_DEV_GPU_UTIL": TARGET | {"gpu", "Hostname"},
    "DCGM_FI_DEV_FB_USED": TARGET | {"gpu", "Hostname"},
    "DCGM_FI_DEV_POWER_USAGE": TARGET | {"gpu", "Hostname"},
    "DCGM_FI_DEV_GPU_TEMP": TARGET | {"gpu", "Hostname"},
    "DCGM_FI_DEV_XID_ERRORS": TARGET | {"gpu", "Hostname"},
    # kube-state-metrics.
    "kube_pod_container_status_last_terminated_exitcode": TARGET | {"container"},
    "kube_pod_container_status_last_terminated_timestamp": TARGET | {"container"},
    "kube_horizontalpodautoscaler_status_desired_replicas": TARGET | {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_status_current_replicas": TARGET | {"horizontalpodautoscaler"},
    "kube_horizontalpodautoscaler_spec_max_replicas": TARGET | {"horizontalpodautoscaler"},
    "kube_pod_status_phase": TARGET | {"phase"},
    "kube_pod_container_status_restarts_total": TARGET | {"container"},
    "kube_pod_container_status_waiting_reason": TARGET | {"container", "reason"},
    # The kubelet's cAdvisor.
    "container_cpu_cfs_throttled_seconds_total": TARGET,
    # cert-manager.
    "certmanager_certificate_expiration_timestamp_seconds": TARGET | {"name"},
}
"""Metrics of others, with the labels that may be used of them."""


def declared(registry: CollectorRegistry, target: frozenset[str]) -> dict[str, frozenset[str]]:
    """Returns the labels of every metric of a registry, by each name its series have, and `target` beside."""
    found: dict[str, frozenset[str]] = {}
    for collector in registry._collector_to_names:
        for family in collector.describe() if hasattr(collector, "describe") else collector.collect():
            labels = target | set(labels_of(collector, family))
            match family.type:
                case "counter":
                    found[f"{family.name}_total"] = labels
                case "histogram":
                    found[f"{family.name}_bucket"] = labels | {"le"}
                    found[f"{family.name}_sum"] = found[f"{family.name}_count"] = labels
                case _:
                    found[family.name] = labels
    return found


GATEWAY = declared(gateway_registry(), TARGET)
SERVICES_OWN = declared(engine_registry(), SERVER_TARGET)
OWN: Metrics = {
    name: GATEWAY.get(name, frozenset()) | SERVICES_OWN.get(name, frozenset()) for name in {*GATEWAY, *SERVICES_OWN}
}
"""Every metric of the code. Gateway and services share some names; the services' have no model."""


def _edges() -> dict[tuple[str, str], frozenset[str]]:
    collectors = [*gateway_registry()._collector_to_names, *engine_registry()._collector_to_names]
    return {
        (f"{histogram._name}_bucket", "le"): frozenset(map(floatToGoString, histogram._upper_bounds))
        for histogram in collectors
        if isinstance(histogram, Histogram)
    }


def _written(folder: str) -> frozenset[str]:
    """Returns every text the code of a folder has: what is not there cannot be a label's value."""
    trees = (ast.parse(path.read_text()) for path in (FOLDER.parent.parent / folder).rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return frozenset(node.value for node in nodes if isinstance(node.value, str))


VALUES: Values = {
    **_edges(),
    ("sensorium_gateway_admission_total", "outcome"): frozenset(OUTCOMES),
    ("sensorium_gateway_attempts_total", "result"): _written("gateway"),
    ("sensorium_gateway_requests_total", "code"): frozenset(code.name for code in StatusCode),
    ("sensorium_gateway_endpoints", "state"): frozenset(state.value for state in EndpointState),
    ("sensorium_gateway_tokens_total", "direction"): frozenset({"input", "output"}),
    ("", "modality"): frozenset(service.name.removesuffix("Service").lower() for service in SERVICES),
    ("", "slo"): frozenset(objective.slo for objective in OBJECTIVES),
    ("", "job"): frozenset({"sensorium-gateway", "sensorium-model-server"}),
}
"""Labels whose values the code numbers."""
