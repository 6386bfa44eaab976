"""Objects that do not agree with each other."""

from tests.k8s.faults.places import H100, KIND, L4, gateway, server, spec, tell
from tests.k8s.manifests import of_kind
from tests.k8s.policies import wiring

FAULTS = {
    wiring.objects_are_labelled: (
        KIND,
        {
            "part of nothing": lambda o: of_kind(o, "Service")[0]["metadata"].pop("labels"),
            "another name": lambda o: server(o).manifest["metadata"]["labels"].update({"app.kubernetes.io/name": "x"}),
        },
    ),
    wiring.objects_share_a_namespace: (
        KIND,
        {"one elsewhere": lambda o: server(o).manifest["metadata"].update(namespace="default")},
    ),
    wiring.deployments_select_their_own_pods: (
        KIND,
        {
            "those of all pools": lambda o: (
                server(o)
                .manifest["spec"]["selector"]
                .update(matchLabels={"app.kubernetes.io/component": "model-server"})
            )
        },
    ),
    wiring.services_lead_to_ports_that_are_open: (
        KIND,
        {
            "to all pools": lambda o: spec(o, "Service", "sensorium-text").update(
                selector={"app.kubernetes.io/component": "model-server"}
            ),
            "to no pod": lambda o: spec(o, "Service", "sensorium-text")["selector"].update(version="2"),
            "to no port": lambda o: spec(o, "Service", "sensorium-text")["ports"][0].update(targetPort="http"),
            "by another number": lambda o: spec(o, "Service", "sensorium-vision")["ports"][0].update(port=50051),
        },
    ),
    wiring.pools_are_found_by_their_endpoints: (
        KIND,
        {
            "a pool is missing": lambda o: tell(o, gateway(o), SENSORIUM_ENDPOINTSLICES="text=sensorium-text"),
            "another port": lambda o: spec(o, "Service", "sensorium-text")["ports"][0].update(name="http2"),
            "a virtual address": lambda o: spec(o, "Service", "sensorium-text").pop("clusterIP"),
            "pods that are not ready": lambda o: spec(o, "Service", "sensorium-text").update(
                publishNotReadyAddresses=True
            ),
        },
    ),
    wiring.ports_are_those_of_the_process: (
        KIND,
        {
            "another number": lambda o: server(o).main["ports"][0].update(containerPort=8080),
            "the process chooses another": lambda o: tell(o, server(o), SENSORIUM_METRICS_PORT="9090"),
        },
    ),
    wiring.references_lead_somewhere: (
        L4,
        {
            "no settings": lambda o: server(o).main["envFrom"][0]["configMapRef"].update(name="sensorium-text"),
            "no volume": lambda o: server(o).pod["volumes"].clear(),
            "no claim": lambda o: o.remove(of_kind(o, "PersistentVolumeClaim")[0]),
            "no account": lambda o: o.remove(of_kind(o, "ServiceAccount")[0]),
            "not mounted": lambda o: server(o).main["volumeMounts"].pop(),
        },
    ),
    wiring.every_process_is_scraped_once: (
        L4,
        {
            "another port": lambda o: spec(o, "PodMonitor", "sensorium-gateway")["podMetricsEndpoints"][0].update(
                port="grpc"
            ),
            "one pool": lambda o: spec(o, "PodMonitor", "sensorium-model-server").update(
                selector={"matchLabels": {"app.kubernetes.io/name": "sensorium-text"}}
            ),
            "twice": lambda o: spec(o, "PodMonitor", "sensorium-gateway").update(selector={}),
        },
    ),
    wiring.routes_from_outside_end_at_the_gateway: (
        H100,
        {
            "another port": lambda o: spec(o, "GRPCRoute", "sensorium")["rules"][0]["backendRefs"][0].update(port=443),
            "to no service": lambda o: spec(o, "GRPCRoute", "sensorium")["rules"][0]["backendRefs"][0].update(name="x"),
            "on no listener": lambda o: spec(o, "GRPCRoute", "sensorium")["parentRefs"][0].update(sectionName="https"),
            "another host": lambda o: spec(o, "GRPCRoute", "sensorium").update(hostnames=["other.example.com"]),
        },
    ),
}
