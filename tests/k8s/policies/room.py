"""Processor, memory, GPUs and scratch space: nobody takes what others need, and nothing is used unasked."""

from collections.abc import Iterator

from tests.k8s.manifests import (
    Manifest,
    Workload,
    environment,
    find,
    gateways,
    model_servers,
    pool_of,
    quantity,
    workloads,
)
from tests.k8s.processes import settings_of

_GPU = "nvidia.com/gpu"
_PRODUCT = "nvidia.com/gpu.product"
_TOLERATION = {"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}


def containers_ask_for_what_they_use(objects: list[Manifest]) -> Iterator[str]:
    """No limit on the processor: it would stop streams for the rest of a tenth of a second where cores are idle."""
    for workload in workloads(objects):
        for container in workload.containers:
            requests, limits = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
            name = f"{workload.name}: {container['name']}"
            if not {"cpu", "memory"} <= set(requests):
                yield f"{name} is placed wherever there is nothing left"
            if not limits.get("memory") or limits["memory"] != requests.get("memory"):
                yield f"{name} may use memory that it did not ask for"
            if "cpu" in limits:
                yield f"{name} is throttled"
        if "ephemeral-storage" not in workload.main["resources"]["limits"]:
            yield f"{workload.name} may fill the node's disk"


def scratch_space_is_bounded(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        in_memory = 0.0
        for volume in workload.volumes.values():
            scratch = volume.get("emptyDir")
            if scratch is None:
                continue
            if "sizeLimit" not in scratch:
                yield f"{workload.name}: {volume['name']} may fill the node"
            elif scratch.get("medium") == "Memory":
                in_memory += quantity(scratch["sizeLimit"])
        if in_memory > quantity(workload.main["resources"]["limits"]["memory"]) / 2:
            yield f"{workload.name}: files in memory leave little of it"


def threads_follow_the_processor(objects: list[Manifest]) -> Iterator[str]:
    for server in model_servers(objects):
        variables = {each["name"]: each for each in server.main["env"]}
        for name in ("OMP_NUM_THREADS", "SENSORIUM_THREADS"):
            asked = variables.get(name, {}).get("valueFrom", {}).get("resourceFieldRef", {})
            if asked != {"resource": "requests.cpu"}:
                yield f"{server.name}: {name} does not follow the request"


def a_model_computes_where_it_was_placed(objects: list[Manifest]) -> Iterator[str]:
    for server in model_servers(objects):
        resources = server.main["resources"]
        variables = environment(objects, server.main)
        plugin = _GPU in resources["limits"] and resources["limits"][_GPU] == resources["requests"].get(_GPU)
        claims = [claim["name"] for claim in resources.get("claims", [])]
        if plugin and claims:
            yield f"{server.name} asks for a GPU twice"
        ranks, gpus = variables.get("SENSORIUM_TENSOR_PARALLEL", "1"), resources["limits"].get(_GPU, "1")
        if ranks != gpus:
            yield f"{server.name} divides its model among {ranks} GPUs and has {gpus}"
        device = variables.get("SENSORIUM_DEVICE")
        if device != ("cuda" if plugin or claims else "cpu"):
            yield f"{server.name} has SENSORIUM_DEVICE={device}"
        if plugin or claims:
            yield from _placed(objects, server, claims)


def what_several_gpus_exchange_has_room(objects: list[Manifest]) -> Iterator[str]:
    """NCCL puts it into shared memory where GPUs do not reach each other's, some tens of MiB for each pair."""
    for server in model_servers(objects):
        if environment(objects, server.main).get("SENSORIUM_TENSOR_PARALLEL", "1") == "1":
            continue
        names = [mount["name"] for mount in server.main["volumeMounts"] if mount["mountPath"] == "/dev/shm"]
        scratch = [server.volumes[name].get("emptyDir", {}) for name in names]
        if [each.get("medium") for each in scratch] != ["Memory"] or quantity(scratch[0]["sizeLimit"]) < 2**30:
            yield f"{server.name}: its GPUs have nowhere to exchange"


def a_gpu_tells_how_much_it_holds(objects: list[Manifest]) -> Iterator[str]:
    """A size that a manifest names is a guess: larger than what is left is refused at start, smaller is waste."""
    for server in model_servers(objects):
        variables = environment(objects, server.main)
        if variables.get("SENSORIUM_DEVICE") == "cuda" and "SENSORIUM_CACHE_MIB" in variables:
            yield f"{server.name} guesses the size of its cache"


def _placed(objects: list[Manifest], server: Workload, claims: list[str]) -> Iterator[str]:
    if _TOLERATION not in server.pod.get("tolerations", []):
        yield f"{server.name} is kept off nodes with GPUs"
    if len(_products(server)) + len(_claimed(objects, server, claims)) != 1:
        yield f"{server.name} is not sized for one kind of GPU"


def _products(server: Workload) -> list[str]:
    affinity = server.pod.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    # Terms are alternatives, so each has to name the product.
    products = [
        expression["values"]
        for term in terms
        for expression in term["matchExpressions"]
        if (expression["key"], expression["operator"]) == (_PRODUCT, "In")
    ]
    return sorted({value for values in products for value in values}) if len(products) == len(terms) else []


def _claimed(objects: list[Manifest], server: Workload, claims: list[str]) -> list[str]:
    templates = {each["name"]: each["resourceClaimTemplateName"] for each in server.pod.get("resourceClaims", [])}
    found = [find(objects, "ResourceClaimTemplate", templates[claim]) for claim in claims if claim in templates]
    return [
        selector["cel"]["expression"]
        for template in found
        if template
        for request in template["spec"]["spec"]["devices"]["requests"]
        if request["exactly"]["deviceClassName"] == "gpu.nvidia.com"
        for selector in request["exactly"]["selectors"]
        if ".productName ==" in selector["cel"]["expression"]
    ]


def gateways_have_room_for_what_waits(objects: list[Manifest]) -> Iterator[str]:
    """Requests of every pool may wait, and as much again is on its way."""
    pools = [pool_of(server) for server in model_servers(objects)]
    for gateway in gateways(objects):
        settings = settings_of(gateway.main, environment(objects, gateway.main))
        waiting = len(pools) * getattr(settings, "queue_bytes", 0)
        if quantity(gateway.main["resources"]["limits"]["memory"]) < 2 * waiting + 128 * 2**20:
            yield f"{gateway.name} is killed for memory when its queues are full"


POLICIES = [
    containers_ask_for_what_they_use,
    scratch_space_is_bounded,
    threads_follow_the_processor,
    a_model_computes_where_it_was_placed,
    what_several_gpus_exchange_has_room,
    a_gpu_tells_how_much_it_holds,
    gateways_have_room_for_what_waits,
]
