"""PodMonitors find every pod, at a port that is there, and give it the labels that rules and boards ask for."""

import re

import pytest

from tests.k8s.manifests import Manifest, matches, of_kind
from tests.k8s.monitoring.known import SERVER_TARGET, TARGET, VALUES
from tests.k8s.variants import objects_of

OBJECTS = objects_of("components/monitoring")
MONITORS = of_kind(OBJECTS, "PodMonitor")
PODS = {each["metadata"]["name"]: each["spec"]["template"] for each in of_kind(OBJECTS, "Deployment")}
OF_THE_OPERATOR = {"namespace", "pod", "instance"}
"""Labels that the operator gives to all pods it scrapes."""


def labels_given(monitor: Manifest, pod: Manifest) -> dict[str, str]:
    """Does what Prometheus does with the relabelings."""
    own = {f"__meta_kubernetes_pod_label_{re.sub('[./-]', '_', k)}": v for k, v in pod["metadata"]["labels"].items()}
    given: dict[str, str] = {}
    (port,) = monitor["spec"]["podMetricsEndpoints"]
    for rule in port["relabelings"]:
        source = ";".join(own[label] for label in rule.get("sourceLabels", ()))
        if match := re.fullmatch(rule.get("regex", "(.*)"), source):
            given[rule["targetLabel"]] = rule.get("replacement", "$1").replace("$1", match[1] if match.groups() else "")
    return given


def monitor_of(pod: Manifest) -> Manifest:
    (monitor,) = (each for each in MONITORS if matches(each["spec"]["selector"], pod["metadata"]["labels"]))
    return monitor


@pytest.mark.parametrize("name", sorted(PODS))
def test_each_pod_is_scraped_once_at_a_port_it_has(name: str) -> None:
    monitor = monitor_of(PODS[name])
    ports = {port["name"] for container in PODS[name]["spec"]["containers"] for port in container["ports"]}
    (scraped,) = monitor["spec"]["podMetricsEndpoints"]
    assert scraped["port"] in ports
    assert scraped["honorLabels"] is True


@pytest.mark.parametrize("name", sorted(PODS))
def test_each_pod_gets_the_labels_that_are_asked_for(name: str) -> None:
    given = labels_given(monitor_of(PODS[name]), PODS[name])
    wanted = TARGET if name == "sensorium-gateway" else SERVER_TARGET
    assert given.keys() | OF_THE_OPERATOR == wanted
    assert given["job"] in VALUES["", "job"]
    assert given.get("modality", "text") in VALUES["", "modality"]
    assert given.get("pool", "") in {"", name.removeprefix("sensorium-")}


def test_every_board_and_all_rules_are_there() -> None:
    boards = [
        name for each in OBJECTS if each["kind"] == "ConfigMap" for name in each["data"] if name.endswith(".json")
    ]
    assert sorted(boards) == ["gateway.json", "model-server.json", "slo.json"]
    assert [each["metadata"]["name"] for each in of_kind(OBJECTS, "PrometheusRule")] == ["sensorium"]
