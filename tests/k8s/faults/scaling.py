"""Scalers that fight, sleep or run wild."""

from typing import Any

from tests.k8s.faults.places import L4, gateway, server, spec, tell
from tests.k8s.manifests import Manifest
from tests.k8s.policies import scaling


def _scaler(objects: list[Manifest]) -> Any:
    return spec(objects, "ScaledObject", "sensorium-text")


def _trigger(objects: list[Manifest]) -> Any:
    return _scaler(objects)["triggers"][0]["metadata"]


def _behaviour(objects: list[Manifest]) -> Any:
    return _scaler(objects)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]


FAULTS = {
    scaling.replicas_are_written_by_one: (
        L4,
        {
            "the manifest too": lambda o: server(o).manifest["spec"].update(replicas=2),
            "nothing there to scale": lambda o: _scaler(o)["scaleTargetRef"].update(name="sensorium-texts"),
        },
    ),
    scaling.scalers_ask_for_their_own_pool: (
        L4,
        {
            "another pool": lambda o: _trigger(o).update(query=_trigger(o)["query"].replace("text", "vision")),
            "another namespace": lambda o: _trigger(o).update(
                query=_trigger(o)["query"].replace('sensorium"', 'other"')
            ),
            "a label that is not told": lambda o: _trigger(o).update(
                query=_trigger(o)["query"].replace("pool", "model")
            ),
            "only what runs": lambda o: _trigger(o).update(query=_trigger(o)["query"].partition(" + ")[2]),
            "nothing is zero": lambda o: _trigger(o).pop("ignoreNullValues"),
        },
    ),
    scaling.targets_are_seven_tenths_of_what_a_replica_takes: (
        L4,
        {
            "a larger batch": lambda o: tell(o, server(o), SENSORIUM_MAX_SEQUENCES="64"),
            "all of it": lambda o: _trigger(o).update(threshold="32"),
        },
    ),
    scaling.scalers_move_with_care: (
        L4,
        {
            "less than least": lambda o: _scaler(o).update(maxReplicaCount=0),
            "slow to add": lambda o: _behaviour(o)["scaleUp"].update(stabilizationWindowSeconds=120),
            "quick to remove": lambda o: _behaviour(o)["scaleDown"].update(stabilizationWindowSeconds=0),
            "nothing to go by": lambda o: _scaler(o).pop("fallback"),
        },
    ),
    scaling.calls_wait_for_pools_without_a_replica: (
        L4,
        {
            "nobody waits": lambda o: tell(o, gateway(o), SENSORIUM_COLD_MODELS=None),
            "another model": lambda o: tell(o, server(o, "speech"), SENSORIUM_MODEL="openai/whisper-small"),
            "for a minute": lambda o: tell(o, gateway(o), SENSORIUM_COLD_START_SECONDS="60"),
        },
    ),
}
