"""Probes, drains, rollouts and disruptions: pods come and go without a failed call."""

from collections.abc import Iterator

from sensorium.rpc.settings import ServerSettings
from tests.k8s.manifests import Manifest, Workload, environment, gateways, matches, model_servers, of_kind, workloads
from tests.k8s.policies.encryption import is_encrypted

# Weights of a GPU's size, from a cold disk over a network.
_LOADING_SECONDS = 600
_FAREWELL_SECONDS = 15


def _serving(objects: list[Manifest]) -> list[Workload]:
    return [*gateways(objects), *model_servers(objects)]


def probes_ask_what_they_are_for(objects: list[Manifest]) -> Iterator[str]:
    """The kubelet speaks gRPC in plaintext only; /readyz says the same as health."""
    for workload in _serving(objects):
        asked = {"grpc": {"port": workload.ports["grpc"]}}
        if is_encrypted(objects, workload):
            asked = {"httpGet": {"path": "/readyz", "port": "metrics"}}
        for probe in ("startupProbe", "readinessProbe"):
            if not asked.items() <= workload.main.get(probe, {}).items():
                yield f"{workload.name}: {probe} does not ask whether it serves"
        alive = workload.main.get("livenessProbe", {})
        if alive.get("httpGet") != {"path": "/livez", "port": "metrics"}:
            yield f"{workload.name}: livenessProbe does not ask whether it is stuck"


def probes_are_not_inverted(objects: list[Manifest]) -> Iterator[str]:
    for workload in _serving(objects):
        ready, alive = (patience(workload.main[probe]) for probe in ("readinessProbe", "livenessProbe"))
        if ready > 10:
            yield f"{workload.name} gets calls for {ready} s after it cannot take them"
        if alive < max(30, 3 * ready):
            yield f"{workload.name} is killed after {alive} s that may be busy ones"


def weights_have_time_to_load(objects: list[Manifest]) -> Iterator[str]:
    for server in model_servers(objects):
        seconds = patience(server.main["startupProbe"])
        path = environment(objects, server.main)["SENSORIUM_MODEL"]
        least = 60 if path.startswith("/models/") else _LOADING_SECONDS
        if not least <= seconds <= 3600:
            yield f"{server.name} is killed after {seconds} s of loading"
        if server.manifest["spec"]["progressDeadlineSeconds"] <= seconds:
            yield f"{server.name}: a rollout is given up before loading is"


def patience(probe: Manifest) -> int:
    """Returns after how many seconds of failures a probe counts."""
    return probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)


def drains_fit_into_the_grace(objects: list[Manifest]) -> Iterator[str]:
    for workload in _serving(objects):
        sleep = workload.main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if sleep < 5:
            yield f"{workload.name} hears of its end before those that call it"
        needed = sleep + sum(_drain(objects, workload)) + _FAREWELL_SECONDS
        if workload.pod.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{workload.name} is killed in its drain, which may take {needed:g} s"


def gateways_outlast_the_streams_behind_them(objects: list[Manifest]) -> Iterator[str]:
    longest = max(_drain(objects, server)[1] for server in model_servers(objects))
    for gateway in gateways(objects):
        if _drain(objects, gateway)[1] < longest:
            yield f"{gateway.name} ends streams that model servers would finish"


def _drain(objects: list[Manifest], workload: Workload) -> list[float]:
    """Returns delay and grace."""
    variables = environment(objects, workload.main)
    names = ("drain_delay_seconds", "drain_grace_seconds")
    return [float(variables.get(f"SENSORIUM_{n.upper()}") or ServerSettings.model_fields[n].default) for n in names]


def rollouts_take_nothing_away(objects: list[Manifest]) -> Iterator[str]:
    """But where every GPU is taken a new pod has to wait for the place of an old one."""
    for workload in _serving(objects):
        spec = workload.manifest["spec"]
        strategy = spec.get("strategy", {})
        on_gpu = "nvidia.com/gpu" in workload.main["resources"]["limits"] or "claims" in workload.main["resources"]
        wanted = {"maxSurge": 0, "maxUnavailable": 1} if on_gpu else {"maxSurge": 1, "maxUnavailable": 0}
        if strategy != {"type": "RollingUpdate", "rollingUpdate": wanted}:
            yield f"{workload.name} rolls out by {strategy}"


def there_is_more_than_one_gateway(objects: list[Manifest]) -> Iterator[str]:
    for gateway in gateways(objects):
        if gateway.manifest["spec"]["replicas"] < 2:
            yield f"{gateway.name} is alone"


def pods_are_spread(objects: list[Manifest]) -> Iterator[str]:
    for workload in _serving(objects):
        spreads = workload.pod.get("topologySpreadConstraints", [])
        own = {each["topologyKey"] for each in spreads if matches(each["labelSelector"], workload.labels)}
        others = [
            each
            for each in spreads
            for other in _serving(objects)
            if other.name != workload.name and matches(each["labelSelector"], other.labels)
        ]
        if own != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"} or others:
            yield f"{workload.name} is not spread by itself over zones and nodes"


def evictions_leave_most_pods(objects: list[Manifest]) -> Iterator[str]:
    budgets = of_kind(objects, "PodDisruptionBudget")
    for workload in _serving(objects):
        own = [each["spec"] for each in budgets if matches(each["spec"]["selector"], workload.labels)]
        if [each.get("maxUnavailable") for each in own] != [1]:
            yield f"{workload.name} has no budget, or several, that lets one pod go at a time"
        if any(each.get("unhealthyPodEvictionPolicy") != "AlwaysAllow" for each in own):
            yield f"{workload.name}: a pod that is not ready keeps its node from being drained"
    for budget in budgets:
        if sum(matches(budget["spec"]["selector"], each.labels) for each in workloads(objects)) != 1:
            yield f"{budget['metadata']['name']} is not the budget of one workload"


def proxies_end_no_stream(objects: list[Manifest]) -> Iterator[str]:
    """Envoy would, 15 s after the request; its Gateway API has no field for it in a GRPCRoute."""
    unlimited = [
        target["name"]
        for policy in of_kind(objects, "BackendTrafficPolicy")
        if policy["spec"]["timeout"]["http"]["requestTimeout"] == "0s"
        for target in policy["spec"]["targetRefs"]
        if target["kind"] == "GRPCRoute"
    ]
    for route in of_kind(objects, "GRPCRoute"):
        if route["metadata"]["name"] not in unlimited:
            yield f"{route['metadata']['name']} ends streams after 15 s"


def ends_are_told(objects: list[Manifest]) -> Iterator[str]:
    """In the pod's status: the log of a container that begins anew every minute is hard to catch."""
    for workload in workloads(objects):
        if workload.main.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            yield f"{workload.name} does not say why it ended"


def downloads_are_not_given_up(objects: list[Manifest]) -> Iterator[str]:
    """Servers wait for them; a Job that failed takes its pod, with the reason in it, along."""
    for job in of_kind(objects, "Job"):
        if job["spec"].get("backoffLimit", 6) < 100 or "activeDeadlineSeconds" in job["spec"]:
            yield f"{job['metadata']['name']} is given up, and nobody sees why"


POLICIES = [
    probes_ask_what_they_are_for,
    probes_are_not_inverted,
    weights_have_time_to_load,
    drains_fit_into_the_grace,
    gateways_outlast_the_streams_behind_them,
    rollouts_take_nothing_away,
    there_is_more_than_one_gateway,
    pods_are_spread,
    evictions_leave_most_pods,
    proxies_end_no_stream,
    ends_are_told,
    downloads_are_not_given_up,
]
