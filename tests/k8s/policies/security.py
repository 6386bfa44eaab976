"""What pods may do, and who holds which credential."""

from collections.abc import Iterator

from tests.k8s.manifests import Manifest, environment, gateways, model_servers, of_kind, workloads

_VOLUMES = {"configMap", "emptyDir", "image", "name", "persistentVolumeClaim", "projected", "secret"}
_WATCHING = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}


def namespace_admits_only_restricted_pods(objects: list[Manifest]) -> Iterator[str]:
    namespaces = of_kind(objects, "Namespace")
    if not namespaces:
        yield "there is no namespace"
    for namespace in namespaces:
        if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield "the namespace does not enforce restricted pods"


def pods_have_no_privileges(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        of_pod = workload.pod.get("securityContext", {})
        if not of_pod.get("runAsNonRoot") or not of_pod.get("runAsUser"):
            yield f"{workload.name} may run as root"
        if of_pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{workload.name} runs without the runtime's seccomp profile"
        if any(workload.pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{workload.name} shares namespaces of the node"
        for volume in workload.volumes.values():
            if not set(volume) <= _VOLUMES:
                yield f"{workload.name} mounts what a restricted pod may not: {volume['name']}"
        for container in workload.containers:
            context = container.get("securityContext", {})
            if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
                yield f"{workload.name}: {container['name']} may gain privileges"
            if context.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{workload.name}: {container['name']} keeps capabilities"
            if {"runAsNonRoot", "runAsUser", "seccompProfile"} & set(context):
                yield f"{workload.name}: {container['name']} does not leave to the pod as whom it runs"
            if any(port.get("hostPort") for port in container.get("ports", [])):
                yield f"{workload.name}: {container['name']} takes a port of the node"


def root_file_systems_are_read_only(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        for container in workload.containers:
            if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
                yield f"{workload.name}: {container['name']} may write to its image"
        scratch = {mount["mountPath"] for mount in workload.main.get("volumeMounts", []) if not mount.get("readOnly")}
        needed = {"/tmp"} if workload.component == "gateway" else {"/tmp", "/cache"}
        if workload.component == "model-server":
            needed |= {"/dev/shm"}
        if not needed <= scratch:
            yield f"{workload.name} has nothing to write to at {sorted(needed - scratch)}"


def only_gateways_hold_a_token_of_kubernetes(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        mounted = workload.pod.get("automountServiceAccountToken")
        if mounted is not (workload.component == "gateway"):
            yield f"{workload.name} says automountServiceAccountToken: {mounted}"
        if mounted and not workload.pod.get("serviceAccountName"):
            yield f"{workload.name} has no service account of its own"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{account['metadata']['name']} gives its token to every pod"


def the_token_watches_endpointslices_and_no_more(objects: list[Manifest]) -> Iterator[str]:
    if of_kind(objects, "ClusterRole", "ClusterRoleBinding"):
        yield "there are rights in the whole cluster"
    rules = [rule for role in of_kind(objects, "Role") for rule in role["rules"]]
    if rules != [_WATCHING]:
        yield f"the rights are {rules}"
    subjects = [subject for binding in of_kind(objects, "RoleBinding") for subject in binding["subjects"]]
    accounts = [
        {
            "kind": "ServiceAccount",
            "name": gateway.pod["serviceAccountName"],
            "namespace": gateway.manifest["metadata"]["namespace"],
        }
        for gateway in gateways(objects)
    ]
    if subjects != accounts:
        yield f"rights are bound to {subjects}"


def only_the_download_knows_the_hub(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        for container in workload.containers:
            variables = environment(objects, container)
            secret = any(value.startswith("secret ") for value in variables.values())
            if workload.component != "model-download" and (secret or {"HF_TOKEN", "HF_TOKEN_PATH"} & set(variables)):
                yield f"{workload.name}: {container['name']} holds a secret of the hub's kind"
    for server in model_servers(objects):
        if environment(objects, server.main).get("HF_HUB_OFFLINE") != "1":
            yield f"{server.name} may go to the hub"


def pods_are_not_told_of_services(objects: list[Manifest]) -> Iterator[str]:
    for workload in workloads(objects):
        if workload.pod.get("enableServiceLinks") is not False:
            yield f"{workload.name} has the addresses of Services in its environment, which settings would be read from"


POLICIES = [
    namespace_admits_only_restricted_pods,
    pods_have_no_privileges,
    root_file_systems_are_read_only,
    only_gateways_hold_a_token_of_kubernetes,
    the_token_watches_endpointslices_and_no_more,
    only_the_download_knows_the_hub,
    pods_are_not_told_of_services,
]
