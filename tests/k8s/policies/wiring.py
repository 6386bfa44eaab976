"""Names, ports, selectors and references that have to agree across objects."""

from collections.abc import Iterator

from gateway.discovery.places import ServicePort
from tests.k8s.manifests import (
    Manifest,
    Workload,
    environment,
    find,
    gateways,
    matches,
    model_servers,
    name_of,
    of_kind,
    pool_of,
    workloads,
)
from tests.k8s.processes import settings_of

_ELSEWHERE = {
    "sensorium-hub-token": "for models behind a licence, and optional",
    "sensorium-public-tls": "of the name that callers outside use",
}
"""Secrets that whoever applies the manifests makes."""


def objects_are_labelled(objects: list[Manifest]) -> Iterator[str]:
    for manifest in objects:
        labels = manifest["metadata"].get("labels", {})
        if manifest["kind"] != "ConfigMap" and labels.get("app.kubernetes.io/part-of") != "sensorium":
            yield f"{name_of(manifest)} is not labelled as part of sensorium"
        named = manifest["kind"] in ("Deployment", "Service", "PodDisruptionBudget")
        if named and labels.get("app.kubernetes.io/name") != manifest["metadata"]["name"]:
            yield f"{name_of(manifest)} is labelled with another name"


def objects_share_a_namespace(objects: list[Manifest]) -> Iterator[str]:
    names = {manifest["metadata"]["name"] for manifest in of_kind(objects, "Namespace")}
    told = {manifest["metadata"].get("namespace") for manifest in objects if manifest["kind"] != "Namespace"}
    if len(names) != 1 or told != names:
        yield f"there are objects in {told}, and namespaces {names}"


def deployments_select_their_own_pods(objects: list[Manifest]) -> Iterator[str]:
    for one in of_kind(objects, "Deployment"):
        selected = [each.name for each in workloads(objects) if matches(one["spec"]["selector"], each.labels)]
        if selected != [name_of(one)]:
            yield f"{name_of(one)} selects {selected}"


def services_lead_to_ports_that_are_open(objects: list[Manifest]) -> Iterator[str]:
    for service in of_kind(objects, "Service"):
        selected = [e for e in workloads(objects) if matches({"matchLabels": service["spec"]["selector"]}, e.labels)]
        if [each.manifest["metadata"]["name"] for each in selected] != [service["metadata"]["name"]]:
            yield f"{name_of(service)} selects {[each.name for each in selected]}"
            continue
        for port in service["spec"]["ports"]:
            if selected[0].ports.get(port["targetPort"]) != port["port"]:
                yield f"{name_of(service)}: {port['port']} is not the port {port['targetPort']} of {selected[0].name}"


def pools_are_found_by_their_endpoints(objects: list[Manifest]) -> Iterator[str]:
    """A headless Service each, of which the gateway reads the EndpointSlices; they tell who is ready."""
    for gateway in gateways(objects):
        told = environment(objects, gateway.main).get("SENSORIUM_ENDPOINTSLICES", "").split(",")
        places = [ServicePort.parse(text) for text in told if text]
        watched = {(place.pool, place.service) for place in places}
        if watched != {(pool_of(server), server.manifest["metadata"]["name"]) for server in model_servers(objects)}:
            yield f"{gateway.name} watches {sorted(watched)}"
        for place in places:
            spec = (find(objects, "Service", place.service) or {}).get("spec", {})
            if place.port_name not in {port["name"] for port in spec.get("ports", [])}:
                yield f"{gateway.name} looks for a port {place.port_name} of {place.service}"
            if spec.get("clusterIP") != "None" or spec.get("publishNotReadyAddresses") is not False:
                yield f"Service/{place.service} hides its pods, or tells of those that are not ready"


def ports_are_those_of_the_process(objects: list[Manifest]) -> Iterator[str]:
    for workload in (*gateways(objects), *model_servers(objects)):
        settings = settings_of(workload.main, environment(objects, workload.main))
        if isinstance(settings, str) or workload.ports != {"grpc": settings.port, "metrics": settings.metrics_port}:
            yield f"{workload.name} opens {workload.ports}"


def references_lead_somewhere(objects: list[Manifest]) -> Iterator[str]:
    secrets = {each["spec"]["secretName"] for each in of_kind(objects, "Certificate")} | set(_ELSEWHERE)
    for workload in workloads(objects):
        for kind, name in _references(workload):
            if name not in secrets if kind == "Secret" else find(objects, kind, name) is None:
                yield f"{workload.name} refers to {kind}/{name}, which nobody makes"
        for container in workload.containers:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in workload.volumes:
                    yield f"{workload.name}: {container['name']} mounts {mount['name']}, which is no volume"
        mounted = {mount["name"] for container in workload.containers for mount in container.get("volumeMounts", [])}
        if set(workload.volumes) - mounted:
            yield f"{workload.name} does not mount {sorted(set(workload.volumes) - mounted)}"


def _references(workload: Workload) -> Iterator[tuple[str, str]]:
    for container in workload.containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]
    for volume in workload.volumes.values():
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
    for claim in workload.pod.get("resourceClaims", []):
        yield "ResourceClaimTemplate", claim["resourceClaimTemplateName"]
    if "serviceAccountName" in workload.pod:
        yield "ServiceAccount", workload.pod["serviceAccountName"]


def every_process_is_scraped_once(objects: list[Manifest]) -> Iterator[str]:
    monitors = of_kind(objects, "PodMonitor")
    for workload in (*gateways(objects), *model_servers(objects)) if monitors else ():
        own = [
            endpoint
            for monitor in monitors
            if matches(monitor["spec"]["selector"], workload.labels)
            for endpoint in monitor["spec"]["podMetricsEndpoints"]
        ]
        if [workload.ports.get(endpoint["port"]) for endpoint in own] != [workload.ports["metrics"]]:
            yield f"{workload.name} is scraped at {[endpoint['port'] for endpoint in own]}"


def routes_from_outside_end_at_the_gateway(objects: list[Manifest]) -> Iterator[str]:
    for route in of_kind(objects, "GRPCRoute"):
        listeners = {
            (gateway["metadata"]["name"], listener["name"], listener["hostname"])
            for gateway in of_kind(objects, "Gateway")
            for listener in gateway["spec"]["listeners"]
        }
        for parent in route["spec"]["parentRefs"]:
            for host in route["spec"]["hostnames"]:
                if (parent["name"], parent["sectionName"], host) not in listeners:
                    yield f"{name_of(route)} hangs on {parent['name']}/{parent['sectionName']} for {host}"
        for backend in (each for rule in route["spec"]["rules"] for each in rule["backendRefs"]):
            service = find(objects, "Service", backend["name"])
            if service is None or backend["port"] not in {port["port"] for port in service["spec"]["ports"]}:
                yield f"{name_of(route)} leads to {backend}"


POLICIES = [
    objects_are_labelled,
    objects_share_a_namespace,
    deployments_select_their_own_pods,
    services_lead_to_ports_that_are_open,
    pools_are_found_by_their_endpoints,
    ports_are_those_of_the_process,
    references_lead_somewhere,
    every_process_is_scraped_once,
    routes_from_outside_end_at_the_gateway,
]
