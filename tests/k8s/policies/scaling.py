"""What writes replicas: one scaler a pool, by the metrics that the gateway tells, with a target that fits the pool."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.k8s.manifests import (
    Manifest,
    Workload,
    environment,
    find,
    gateways,
    model_servers,
    name_of,
    of_kind,
    pool_of,
    quantity,
)
from tests.k8s.policies.life import patience
from tests.k8s.processes import settings_of

_UTILIZATION = 0.7
_BATCHED = 64
"""What a model that reads once works on at once: `BatchLimits.items`."""
_SELECTOR = re.compile(r"(\w+)\{namespace=\"([^\"]*)\",pool=\"([^\"]*)\"\}")
_DEMAND = ["sensorium_gateway_queue_depth", "sensorium_gateway_inflight_requests"]


def scalers(objects: list[Manifest], server: Workload) -> list[Manifest]:
    """Returns what scales a Deployment."""
    return [
        each
        for each in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
        if each["spec"]["scaleTargetRef"]["name"] == server.manifest["metadata"]["name"]
    ]


def replicas_are_written_by_one(objects: list[Manifest]) -> Iterator[str]:
    for server in model_servers(objects):
        writers = [name_of(scaler) for scaler in scalers(objects, server)]
        writers += ["the manifest"] if "replicas" in server.manifest["spec"] else []
        if len(writers) != 1:
            yield f"{server.name}: replicas are written by {writers}"
    for scaler in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if find(objects, target.get("kind", "Deployment"), target["name"]) is None:
            yield f"{name_of(scaler)} scales {target['name']}, which is not there"


def scalers_ask_for_their_own_pool(objects: list[Manifest]) -> Iterator[str]:
    """A query that selects nothing looks like no load."""
    for server in model_servers(objects):
        pool, namespace = pool_of(server), server.manifest["metadata"]["namespace"]
        for scaler in scalers(objects, server):
            if scaler["kind"] == "HorizontalPodAutoscaler":
                asked = [each["external"]["metric"] for each in scaler["spec"]["metrics"]]
                wanted = [{"name": "sensorium_pool_demand", "selector": {"matchLabels": {"pool": pool}}}]
                if asked != wanted:
                    yield f"{name_of(scaler)} asks for {asked}"
                continue
            for trigger in scaler["spec"]["triggers"]:
                query = trigger["metadata"]["query"]
                if _SELECTOR.findall(query) != [(metric, namespace, pool) for metric in _DEMAND]:
                    yield f"{name_of(scaler)} asks for {query}"
                if trigger["metadata"].get("ignoreNullValues") != "false":
                    yield f"{name_of(scaler)} takes a missing series for no load"


def targets_are_seven_tenths_of_what_a_replica_takes(objects: list[Manifest]) -> Iterator[str]:
    for server in model_servers(objects):
        settings = settings_of(server.main, environment(objects, server.main))
        generating = "SENSORIUM_MAX_SEQUENCES" in environment(objects, server.main)
        concurrency = getattr(settings, "max_sequences", _BATCHED) if generating else _BATCHED
        for scaler in scalers(objects, server):
            for target in _targets(scaler):
                if abs(target - _UTILIZATION * concurrency) > 0.01 * concurrency:
                    yield f"{name_of(scaler)} aims at {target} calls of the {concurrency} that a replica takes"


def _targets(scaler: Manifest) -> list[float]:
    if scaler["kind"] == "HorizontalPodAutoscaler":
        return [quantity(each["external"]["target"]["averageValue"]) for each in scaler["spec"]["metrics"]]
    return [float(each["metadata"]["threshold"]) for each in scaler["spec"]["triggers"]]


def scalers_move_with_care(objects: list[Manifest]) -> Iterator[str]:
    for scaler in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler"):
        spec = scaler["spec"]
        least, most = (spec.get(key, spec.get(key.removesuffix("Count") + "s", 0)) for key in _BOUNDS)
        if not least <= most or most < 1:
            yield f"{name_of(scaler)} keeps {least} to {most} replicas"
        behaviour = spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        if behaviour["scaleUp"]["stabilizationWindowSeconds"] != 0:
            yield f"{name_of(scaler)} waits before it adds what takes minutes to come"
        if behaviour["scaleDown"]["stabilizationWindowSeconds"] < 300:
            yield f"{name_of(scaler)} takes away at every lull"
        if scaler["kind"] == "ScaledObject" and not 1 <= spec.get("fallback", {}).get("replicas", 0) <= most:
            yield f"{name_of(scaler)} has nothing to go by while Prometheus is away"


_BOUNDS = ("minReplicaCount", "maxReplicaCount")


def calls_wait_for_pools_without_a_replica(objects: list[Manifest]) -> Iterator[str]:
    """For each pool's model, by the name it is served under, and for as long as a replica may take to come."""
    servers = model_servers(objects)
    models = {pool_of(each): environment(objects, each.main)["SENSORIUM_MODEL"] for each in servers}
    served = {f"{pool}={Path(model).name if model.startswith('/') else model}" for pool, model in models.items()}
    loading = max(patience(each.main["startupProbe"]) for each in servers)
    for gateway in gateways(objects):
        variables = environment(objects, gateway.main)
        told = set(variables.get("SENSORIUM_COLD_MODELS", "").split(","))
        if told != served:
            yield f"{gateway.name} holds calls for {sorted(told)}, where {sorted(served)} are served"
        if float(variables.get("SENSORIUM_COLD_START_SECONDS", 0)) < min(loading, 600):
            yield f"{gateway.name} gives up before a replica can have come"


POLICIES = [
    replicas_are_written_by_one,
    scalers_ask_for_their_own_pool,
    targets_are_seven_tenths_of_what_a_replica_takes,
    scalers_move_with_care,
    calls_wait_for_pools_without_a_replica,
]
