"""Reads the scaling policies of pools from the Kubernetes manifests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

# Kubernetes' defaults (autoscaling/v2).
_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 15},
        {"type": "Pods", "value": 4, "periodSeconds": 15},
    ],
}
_DOWN = {
    "stabilizationWindowSeconds": 300,
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


@dataclass(frozen=True)
class Rule:
    """A scaling policy: at most this many replicas, or percent of them, may be added or removed within a period."""

    percent: bool
    value: int
    period: float


@dataclass(frozen=True)
class Direction:
    """How fast the pool may scale in one direction. `select` is Max (the most permissive rule), Min or Disabled."""

    window: float
    rules: tuple[Rule, ...]
    select: str

    @classmethod
    def of(cls, behaviour: dict[str, Any] | None, default: dict[str, Any]) -> Self:
        """Parses `scaleUp` or `scaleDown`."""
        said = default | (behaviour or {})
        rules = (Rule(each["type"] == "Percent", each["value"], each["periodSeconds"]) for each in said["policies"])
        return cls(said["stabilizationWindowSeconds"], tuple(rules), said["selectPolicy"])


@dataclass(frozen=True)
class Activation:
    """KEDA's part of scaling: from 0 to 1 replica and back."""

    poll: float
    cooldown: float
    threshold: float
    """The pool is active while the metric is above this."""


@dataclass(frozen=True)
class Policy:
    """The scaling policy of one pool. `target` is the metric's target value per replica."""

    pool: str
    target: float
    minimum: int
    maximum: int
    up: Direction
    down: Direction
    activation: Activation | None

    @property
    def hpa_minimum(self) -> int:
        """The minimum of the HorizontalPodAutoscaler, which is at least 1."""
        return max(self.minimum, 1)


def policies(component: Path) -> dict[str, Policy]:
    """Returns each pool's policy, from the ScaledObjects or HorizontalPodAutoscalers of a kustomize component.

    An object without a target is the shared patch: it fills in what the others do not set.
    """
    found = {"ScaledObject": _scaled_object, "HorizontalPodAutoscaler": _autoscaler}
    documents = [doc for path in sorted(component.glob("*.yaml")) for doc in yaml.safe_load_all(path.read_text())]
    scaled = [doc for doc in documents if isinstance(doc, dict) and doc.get("kind") in found]
    shared: dict[str, Any] = {}
    for document in scaled:
        if "scaleTargetRef" not in document["spec"]:
            shared |= document["spec"]
    read = [found[doc["kind"]](doc["spec"] | shared) for doc in scaled if "scaleTargetRef" in doc["spec"]]
    return {policy.pool: policy for policy in read}


def _scaled_object(spec: dict[str, Any]) -> Policy:
    (trigger,) = spec["triggers"]
    metadata = trigger["metadata"]
    behaviour = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    return Policy(
        pool=_pool(spec),
        target=_quantity(metadata["threshold"]),
        minimum=spec.get("minReplicaCount", 0),
        maximum=spec.get("maxReplicaCount", 100),
        up=Direction.of(behaviour.get("scaleUp"), _UP),
        down=Direction.of(behaviour.get("scaleDown"), _DOWN),
        activation=Activation(
            spec.get("pollingInterval", 30),
            spec.get("cooldownPeriod", 300),
            _quantity(metadata.get("activationThreshold", 0)),
        ),
    )


def _autoscaler(spec: dict[str, Any]) -> Policy:
    (metric,) = spec["metrics"]
    source = metric[metric["type"].lower()]
    behaviour = spec.get("behavior", {})
    return Policy(
        pool=_pool(spec),
        target=_quantity(source["target"]["averageValue"]),
        minimum=spec.get("minReplicas", 1),
        maximum=spec["maxReplicas"],
        up=Direction.of(behaviour.get("scaleUp"), _UP),
        down=Direction.of(behaviour.get("scaleDown"), _DOWN),
        activation=None,
    )


def _pool(spec: dict[str, Any]) -> str:
    return str(spec["scaleTargetRef"]["name"]).removeprefix("sensorium-")


def _quantity(value: Any) -> float:
    """Parses a number or a Kubernetes quantity in thousandths, such as `11200m`."""
    text = str(value)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
