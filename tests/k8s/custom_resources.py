"""What Kubernetes' own schemas do not know, held to the definitions that operators bring.

Of KEDA, cert-manager and the Prometheus operator there are models made from their definitions. Those of the Gateway API
and of Envoy Gateway are small enough to be written down here, as far as they are used.
"""

import functools
import importlib
import importlib.util
import json
import sys
from typing import Any

import jsonschema
import pydantic

from tests.k8s.manifests import Manifest

MODULES: dict[tuple[str, str], str] = {
    ("keda.sh/v1alpha1", "ScaledObject"): "keda.v1alpha1",
    ("cert-manager.io/v1", "Certificate"): "cert_manager.v1",
    ("cert-manager.io/v1", "Issuer"): "cert_manager.v1",
    ("monitoring.coreos.com/v1", "PodMonitor"): "prometheus_operator.v1",
    ("monitoring.coreos.com/v1", "PrometheusRule"): "prometheus_operator.v1",
}
"""Where in cloudcoil's models."""


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


_NAME = {
    "type": "string",
    "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "maxLength": 253,
}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_TLS = _object(
    "mode certificateRefs", mode={"enum": ["Terminate"]}, certificateRefs=_list(_object("name", name=_NAME), 64)
)
_NAMESPACES = _object("from", **{"from": {"enum": ["All", "Same", "None"]}})
_LISTENER = _object(
    "name port protocol",
    name=_NAME,
    port=_PORT,
    protocol={"enum": ["HTTPS"]},
    hostname=_NAME,
    tls=_TLS,
    allowedRoutes=_object("namespaces", namespaces=_NAMESPACES),
)
_RULE = _object("backendRefs", backendRefs=_list(_object("name port", name=_NAME, port=_PORT), 16))
_TARGET = _object(
    "group kind name", group={"const": "gateway.networking.k8s.io"}, kind={"enum": ["Gateway", "GRPCRoute"]}, name=_NAME
)
_TIMEOUT = _object("requestTimeout", requestTimeout={"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"})

SCHEMAS: dict[tuple[str, str], dict[str, Any]] = {
    ("gateway.networking.k8s.io/v1", "Gateway"): _object(
        "gatewayClassName listeners", gatewayClassName=_NAME, listeners=_list(_LISTENER, 64)
    ),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): _object(
        "parentRefs hostnames rules",
        parentRefs=_list(_object("name sectionName", name=_NAME, sectionName=_NAME), 32),
        hostnames=_list(_NAME, 16),
        rules=_list(_RULE, 16),
    ),
    ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy"): _object(
        "targetRefs timeout", targetRefs=_list(_TARGET, 16), timeout=_object("http", http=_TIMEOUT)
    ),
}


def complaint(manifest: Manifest) -> str:
    """Returns what a definition says of an object, unknown fields included; empty where nothing.

    Raises:
        KeyError: no definition is known.
    """
    key = manifest["apiVersion"], manifest["kind"]
    if key in SCHEMAS:
        errors = jsonschema.Draft202012Validator(SCHEMAS[key]).iter_errors(manifest["spec"])
        return "; ".join(f"{error.json_path}: {error.message}" for error in errors)
    model: type[pydantic.BaseModel] = getattr(_module(*MODULES[key].split(".")), key[1])
    try:
        read = model.model_validate(manifest)
    except pydantic.ValidationError as error:
        return str(error)
    # The models drop what they do not know.
    kept = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
    return ", ".join(_lost(manifest["spec"], kept["spec"], "spec"))


@functools.cache
def _module(package: str, version: str) -> Any:
    """Imports one version of a package's models, which takes seconds, and not the others, which take as many again."""
    name = f"cloudcoil.models.{package}"
    spec = importlib.util.find_spec(name)
    assert spec is not None
    sys.modules.setdefault(name, importlib.util.module_from_spec(spec))  # its own code would import them all
    return importlib.import_module(f"{name}.{version}")


def _lost(given: Any, kept: Any, path: str) -> list[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        unknown = [f"{path}.{key}" for key in given if key not in kept]
        return unknown + [
            each for key in given if key in kept for each in _lost(given[key], kept[key], f"{path}.{key}")
        ]
    if isinstance(given, list) and isinstance(kept, list):
        return [each for i, (a, b) in enumerate(zip(given, kept, strict=True)) for each in _lost(a, b, f"{path}[{i}]")]
    return []
