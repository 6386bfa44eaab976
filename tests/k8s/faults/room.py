"""Pods that take what they did not ask for, or ask for what they do not get."""

from typing import Any

from tests.k8s.faults.places import KIND, L4, gateway, server, tell
from tests.k8s.manifests import Manifest
from tests.k8s.policies import room


def _product(objects: list[Manifest]) -> Any:
    affinity = server(objects).pod["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return terms[0]["matchExpressions"][0]


FAULTS = {
    room.containers_ask_for_what_they_use: (
        L4,
        {
            "no processor": lambda o: server(o).main["resources"]["requests"].pop("cpu"),
            "more memory than asked for": lambda o: server(o).main["resources"]["limits"].update(memory="64Gi"),
            "no limit of memory": lambda o: gateway(o).main["resources"]["limits"].pop("memory"),
            "throttled": lambda o: server(o).main["resources"]["limits"].update(cpu="4"),
            "an init container": lambda o: server(o).pod["initContainers"][0].pop("resources"),
            "the node's disk": lambda o: server(o).main["resources"]["limits"].pop("ephemeral-storage"),
        },
    ),
    room.scratch_space_is_bounded: (
        KIND,
        {
            "the node's disk": lambda o: server(o).volumes["tmp"]["emptyDir"].clear(),
            "most of the memory": lambda o: server(o).volumes["shm"]["emptyDir"].update(sizeLimit="1Gi"),
        },
    ),
    room.threads_follow_the_processor: (
        KIND,
        {
            "a number": lambda o: server(o).main["env"].__setitem__(0, {"name": "SENSORIUM_THREADS", "value": "8"}),
            "the limit": lambda o: (
                server(o).main["env"][1]["valueFrom"]["resourceFieldRef"].update(resource="limits.cpu")
            ),
        },
    ),
    room.a_model_computes_where_it_was_placed: (
        L4,
        {
            "on the CPU unnoticed": lambda o: tell(o, server(o), SENSORIUM_DEVICE="auto"),
            "a GPU nobody asked for": lambda o: server(o).main["resources"]["limits"].pop("nvidia.com/gpu"),
            "no toleration": lambda o: server(o).pod["tolerations"].clear(),
            "any node": lambda o: server(o).pod.pop("affinity"),
            "two kinds of GPU": lambda o: _product(o)["values"].append("Tesla-T4"),
            "all kinds but one": lambda o: _product(o).update(operator="NotIn"),
            "asked for twice": lambda o: server(o).main["resources"].update(claims=[{"name": "gpu"}]),
            "more ranks than GPUs": lambda o: tell(o, server(o), SENSORIUM_TENSOR_PARALLEL="2"),
            "more GPUs than ranks": lambda o: [
                server(o).main["resources"][key].update({"nvidia.com/gpu": "2"}) for key in ("requests", "limits")
            ],
        },
    ),
    room.what_several_gpus_exchange_has_room: (
        "components/tensor-parallel",
        {
            "none of their own": lambda o: server(o).main["volumeMounts"].pop(),
            "on a disk": lambda o: server(o).volumes["shm"]["emptyDir"].pop("medium"),
            "too little": lambda o: server(o).volumes["shm"]["emptyDir"].update(sizeLimit="64Mi"),
        },
    ),
    room.a_gpu_tells_how_much_it_holds: (
        L4,
        {"a guess": lambda o: tell(o, server(o, "speech"), SENSORIUM_CACHE_MIB="4096")},
    ),
    room.gateways_have_room_for_what_waits: (
        KIND,
        {"little memory": lambda o: gateway(o).main["resources"]["limits"].update(memory="64Mi")},
    ),
}
