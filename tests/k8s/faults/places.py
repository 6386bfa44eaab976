"""Where faults are put."""

from typing import Any

from tests.k8s.manifests import Manifest, Workload, find, gateways, workloads

KIND = "overlays/kind-cpu"
L4 = "overlays/prod-l4"
H100 = "overlays/prod-h100"


def gateway(objects: list[Manifest]) -> Workload:
    """Returns the gateway's Deployment."""
    (found,) = gateways(objects)
    return found


def server(objects: list[Manifest], pool: str = "text") -> Workload:
    """Returns a pool's Deployment."""
    return _workload(objects, f"Deployment/sensorium-{pool}")


def download(objects: list[Manifest], pool: str = "text") -> Workload:
    """Returns a pool's Job."""
    return _workload(objects, f"Job/sensorium-download-{pool}")


def _workload(objects: list[Manifest], name: str) -> Workload:
    return next(each for each in workloads(objects) if each.name == name)


def spec(objects: list[Manifest], kind: str, name: str) -> Any:
    """Returns the specification of an object."""
    found = find(objects, kind, name)
    assert found is not None
    return found["spec"]


def tell(objects: list[Manifest], workload: Workload, **variables: str | None) -> None:
    """Sets variables of a workload's process; None takes one away."""
    name = workload.main["envFrom"][0]["configMapRef"]["name"]
    config = find(objects, "ConfigMap", name)
    assert config is not None
    for key, value in variables.items():
        workload.main["env"] = [each for each in workload.main.get("env", []) if each["name"] != key]
        config["data"].pop(key, None)
        if value is not None:
            config["data"][key] = value


def mount(workload: Workload, path: str) -> Any:
    """Returns what is mounted at a path."""
    return next(each for each in workload.main["volumeMounts"] if each["mountPath"] == path)
