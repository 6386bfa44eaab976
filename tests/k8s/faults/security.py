"""Pods that may too much."""

from tests.k8s.faults.places import KIND, L4, download, gateway, server, tell
from tests.k8s.manifests import of_kind
from tests.k8s.policies import security

FAULTS = {
    security.namespace_admits_only_restricted_pods: (
        KIND,
        {
            "only warns": lambda o: of_kind(o, "Namespace")[0]["metadata"]["labels"].pop(
                "pod-security.kubernetes.io/enforce"
            ),
            "no namespace": lambda o: o.remove(of_kind(o, "Namespace")[0]),
        },
    ),
    security.pods_have_no_privileges: (
        L4,
        {
            "root allowed": lambda o: server(o).pod["securityContext"].pop("runAsNonRoot"),
            "root chosen": lambda o: server(o).main["securityContext"].update(runAsUser=0),
            "no seccomp": lambda o: gateway(o).pod["securityContext"].pop("seccompProfile"),
            "network of the node": lambda o: gateway(o).pod.update(hostNetwork=True),
            "folder of the node": lambda o: (
                server(o).pod["volumes"].append({"name": "node", "hostPath": {"path": "/"}})
            ),
            "escalation": lambda o: server(o).main["securityContext"].pop("allowPrivilegeEscalation"),
            "capabilities kept": lambda o: download(o).main["securityContext"].pop("capabilities"),
            "a capability added": lambda o: server(o).main["securityContext"]["capabilities"].update(add=["NET_RAW"]),
            "in an init container": lambda o: server(o).pod["initContainers"][0].pop("securityContext"),
            "port of the node": lambda o: server(o).main["ports"][0].update(hostPort=50051),
        },
    ),
    security.root_file_systems_are_read_only: (
        L4,
        {
            "writable": lambda o: server(o).main["securityContext"].update(readOnlyRootFilesystem=False),
            "nowhere to write": lambda o: server(o).main["volumeMounts"].clear(),
        },
    ),
    security.only_gateways_hold_a_token_of_kubernetes: (
        L4,
        {
            "a model server has one": lambda o: server(o).pod.pop("automountServiceAccountToken"),
            "the download has one": lambda o: download(o).pod.update(automountServiceAccountToken=True),
            "the gateway has none": lambda o: gateway(o).pod.update(automountServiceAccountToken=False),
            "the default account": lambda o: gateway(o).pod.pop("serviceAccountName"),
            "given to every pod": lambda o: of_kind(o, "ServiceAccount")[0].pop("automountServiceAccountToken"),
        },
    ),
    security.the_token_watches_endpointslices_and_no_more: (
        KIND,
        {
            "pods too": lambda o: of_kind(o, "Role")[0]["rules"][0]["resources"].append("pods"),
            "writes": lambda o: of_kind(o, "Role")[0]["rules"][0]["verbs"].append("patch"),
            "no watch": lambda o: of_kind(o, "Role")[0]["rules"][0]["verbs"].remove("watch"),
            "in the whole cluster": lambda o: of_kind(o, "RoleBinding")[0].update(kind="ClusterRoleBinding"),
            "another namespace's": lambda o: of_kind(o, "RoleBinding")[0]["subjects"][0].update(namespace="other"),
        },
    ),
    security.only_the_download_knows_the_hub: (
        L4,
        {
            "a server with the token": lambda o: server(o).main["env"].append(download(o).main["env"][-1]),
            "a server online": lambda o: tell(o, server(o), HF_HUB_OFFLINE="0"),
        },
    ),
    security.pods_are_not_told_of_services: (
        KIND,
        {"links": lambda o: gateway(o).pod.pop("enableServiceLinks")},
    ),
}
