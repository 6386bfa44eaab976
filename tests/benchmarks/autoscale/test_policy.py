from dataclasses import replace
from pathlib import Path

from benchmarks.autoscale.__main__ import COMPONENTS
from benchmarks.autoscale.policy import Activation, Direction, Rule, policies

SCALED_OBJECT = """
kind: ScaledObject
spec:
  scaleTargetRef: {name: sensorium-text}
  minReplicaCount: 0
  maxReplicaCount: 8
  pollingInterval: 15
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: 600
          policies: [{type: Pods, value: 1, periodSeconds: 60}]
  triggers:
    - type: prometheus
      metadata: {threshold: "11.2", activationThreshold: "0.5", query: up}
"""
AUTOSCALER = """
kind: HorizontalPodAutoscaler
spec:
  scaleTargetRef: {kind: Deployment, name: sensorium-vision}
  minReplicas: 2
  maxReplicas: 8
  metrics:
    - type: External
      external:
        metric: {name: load}
        target: {type: AverageValue, averageValue: 11200m}
"""


def test_what_a_patch_says_for_all_holds_for_each(tmp_path: Path) -> None:
    (tmp_path / "vision.yaml").write_text(AUTOSCALER)
    patch = "kind: HorizontalPodAutoscaler\nspec: {behavior: {scaleDown: {stabilizationWindowSeconds: 60}}}"
    (tmp_path / "all.yaml").write_text(patch)
    assert policies(tmp_path)["vision"].down.window == 60


def test_a_scaled_object_is_read_with_kubernetes_defaults_for_the_rest(tmp_path: Path) -> None:
    (tmp_path / "text.yaml").write_text(SCALED_OBJECT)
    text = policies(tmp_path)["text"]
    assert (text.target, text.minimum, text.hpa_minimum, text.maximum) == (11.2, 0, 1, 8)
    assert text.activation == Activation(poll=15, cooldown=300, threshold=0.5)
    assert text.down == Direction(600, (Rule(False, 1, 60),), "Max")
    assert text.up == Direction(0, (Rule(True, 100, 15), Rule(False, 4, 15)), "Max")


def test_an_autoscaler_is_read_beside_other_documents(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("kind: Service\n---" + AUTOSCALER)
    vision = policies(tmp_path)["vision"]
    assert (vision.target, vision.minimum, vision.maximum, vision.activation) == (11.2, 2, 8, None)


def test_the_manifests_scale_every_pool_and_both_ways_alike() -> None:
    keda, hpa = (policies(COMPONENTS / component) for component in ("keda", "hpa"))
    assert keda.keys() == hpa.keys() == {"text", "vision", "speech", "multimodal"}
    for pool, policy in keda.items():
        # But for a pool of none, which a HorizontalPodAutoscaler cannot have.
        assert replace(policy, activation=None, minimum=policy.hpa_minimum) == hpa[pool], pool
