"""Rendered objects, and what one finds in them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
"""One object, as kubectl would send it."""

_UNITS = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30, "": 1}


@dataclass(frozen=True)
class Workload:
    """What makes pods, and the pods it makes."""

    manifest: Manifest

    @property
    def name(self) -> str:
        return name_of(self.manifest)

    @property
    def pod(self) -> Manifest:
        return self.manifest["spec"]["template"]["spec"]

    @property
    def labels(self) -> Mapping[str, str]:
        return self.manifest["spec"]["template"]["metadata"]["labels"]

    @property
    def component(self) -> str:
        return self.labels.get("app.kubernetes.io/component", "")

    @property
    def main(self) -> Manifest:
        return self.pod["containers"][0]

    @property
    def containers(self) -> list[Manifest]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.main.get("ports", [])}

    @property
    def volumes(self) -> dict[str, Manifest]:
        return {volume["name"]: volume for volume in self.pod.get("volumes", [])}


def name_of(manifest: Manifest) -> str:
    """Returns `Kind/name`."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(objects: list[Manifest], *kinds: str) -> list[Manifest]:
    """Returns the objects of some kinds."""
    return [manifest for manifest in objects if manifest["kind"] in kinds]


def find(objects: list[Manifest], kind: str, name: str) -> Manifest | None:
    """Returns an object, or None."""
    return next((each for each in of_kind(objects, kind) if each["metadata"]["name"] == name), None)


def workloads(objects: list[Manifest]) -> list[Workload]:
    """Returns everything that makes pods."""
    return [Workload(manifest) for manifest in of_kind(objects, "Deployment", "Job")]


def model_servers(objects: list[Manifest]) -> list[Workload]:
    """Returns the Deployments of the pools."""
    return [each for each in workloads(objects) if each.component == "model-server"]


def gateways(objects: list[Manifest]) -> list[Workload]:
    """Returns the Deployment of the gateway."""
    return [each for each in workloads(objects) if each.component == "gateway"]


def pool_of(server: Workload) -> str:
    """Returns the name of a Deployment's pool."""
    return str(server.manifest["metadata"]["name"]).removeprefix("sensorium-")


def environment(objects: list[Manifest], container: Manifest) -> dict[str, str]:
    """Returns what a container's process finds in its environment; of a secret or a field, its name."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= (find(objects, "ConfigMap", source["configMapRef"]["name"]) or {}).get("data", {})
    for variable in container.get("env", []):
        found[variable["name"]] = variable["value"] if "value" in variable else _value_from(container, variable)
    return found


def _value_from(container: Manifest, variable: Manifest) -> str:
    source = variable["valueFrom"]
    if "resourceFieldRef" in source:
        kind, _, resource = source["resourceFieldRef"]["resource"].partition(".")
        # The divisor is 1 where none is given, and the quotient is rounded up.
        return str(math.ceil(quantity(container["resources"][kind][resource])))
    if "fieldRef" in source:
        return f"field {source['fieldRef']['fieldPath']}"
    return f"secret {source['secretKeyRef']['name']}"


def quantity(text: str | int) -> float:
    """Returns a quantity as a number: cores, bytes, pieces."""
    digits = str(text).rstrip("mMGi")
    return float(digits) * _UNITS[str(text)[len(digits) :]]


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Returns whether a label selector selects what has these labels. An empty one selects everything."""
    selector = selector or {}
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_met(expression, labels) for expression in selector.get("matchExpressions", []))


def _met(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, wanted = labels.get(expression["key"]), expression.get("values", [])
    if expression["operator"] in ("In", "NotIn"):
        return (value in wanted) == (expression["operator"] == "In")
    return (value is not None) == (expression["operator"] == "Exists")


def strings(value: Any) -> Iterator[str]:
    """Yields every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
