"""Pods that are killed, asked or replaced at the wrong time."""

from tests.k8s.faults.places import H100, KIND, L4, gateway, server, spec, tell
from tests.k8s.manifests import of_kind
from tests.k8s.policies import life

_CHECK = {"grpc": {"port": 50051}}

FAULTS = {
    life.probes_ask_what_they_are_for: (
        H100,
        {
            "of another port": lambda o: server(o).main["readinessProbe"]["grpc"].update(port=50052),
            "metrics instead of health": lambda o: server(o).main["startupProbe"]["grpc"].update(port=9051),
            "no startup": lambda o: server(o).main.pop("startupProbe"),
            "liveness by health": lambda o: (
                server(o).main["livenessProbe"].pop("httpGet"),
                server(o).main["livenessProbe"].update(_CHECK),
            ),
            "liveness by readiness": lambda o: server(o).main["livenessProbe"]["httpGet"].update(path="/readyz"),
        },
    ),
    life.probes_are_not_inverted: (
        L4,
        {
            "slow to notice": lambda o: server(o).main["readinessProbe"].update(failureThreshold=60),
            "quick to kill": lambda o: server(o).main["livenessProbe"].update(failureThreshold=1),
        },
    ),
    life.weights_have_time_to_load: (
        L4,
        {
            "a minute": lambda o: server(o).main["startupProbe"].update(failureThreshold=12),
            "for ever": lambda o: server(o).main["startupProbe"].update(failureThreshold=5400),
            "a rollout given up": lambda o: server(o).manifest["spec"].update(progressDeadlineSeconds=600),
        },
    ),
    life.drains_fit_into_the_grace: (
        KIND,
        {
            "the default of Kubernetes": lambda o: server(o).pod.pop("terminationGracePeriodSeconds"),
            "a longer drain": lambda o: tell(o, server(o), SENSORIUM_DRAIN_GRACE_SECONDS="130"),
            "a longer delay": lambda o: tell(o, gateway(o), SENSORIUM_DRAIN_DELAY_SECONDS="30"),
            "no sleep": lambda o: gateway(o).main.pop("lifecycle"),
        },
    ),
    life.gateways_outlast_the_streams_behind_them: (
        KIND,
        {"a shorter drain": lambda o: tell(o, gateway(o), SENSORIUM_DRAIN_GRACE_SECONDS=None)},
    ),
    life.rollouts_take_nothing_away: (
        L4,
        {
            "one gateway less": lambda o: (
                gateway(o).manifest["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1)
            ),
            "a GPU that is not there": lambda o: (
                server(o).manifest["spec"]["strategy"]["rollingUpdate"].update(maxSurge=1)
            ),
            "all at once": lambda o: gateway(o).manifest["spec"].update(strategy={"type": "Recreate"}),
        },
    ),
    life.there_is_more_than_one_gateway: (KIND, {"one": lambda o: gateway(o).manifest["spec"].update(replicas=1)}),
    life.pods_are_spread: (
        KIND,
        {
            "not at all": lambda o: server(o).pod.pop("topologySpreadConstraints"),
            "with others": lambda o: server(o).pod["topologySpreadConstraints"][0]["labelSelector"].clear(),
            "by labels of another": lambda o: (
                server(o)
                .pod["topologySpreadConstraints"][0]["labelSelector"]
                .update(matchLabels={"app.kubernetes.io/name": "sensorium-vision"})
            ),
        },
    ),
    life.evictions_leave_most_pods: (
        KIND,
        {
            "no selector": lambda o: spec(o, "PodDisruptionBudget", "sensorium-text")["selector"].clear(),
            "of another pool": lambda o: spec(o, "PodDisruptionBudget", "sensorium-text")["selector"][
                "matchLabels"
            ].update({"app.kubernetes.io/name": "sensorium-vision"}),
            "all may go": lambda o: spec(o, "PodDisruptionBudget", "sensorium-gateway").update(maxUnavailable="100%"),
            "stuck nodes": lambda o: spec(o, "PodDisruptionBudget", "sensorium-gateway").pop(
                "unhealthyPodEvictionPolicy"
            ),
        },
    ),
    life.proxies_end_no_stream: (
        H100,
        {
            "no policy": lambda o: o.remove(of_kind(o, "BackendTrafficPolicy")[0]),
            "ten minutes": lambda o: spec(o, "BackendTrafficPolicy", "sensorium")["timeout"]["http"].update(
                requestTimeout="10m"
            ),
            "of another route": lambda o: spec(o, "BackendTrafficPolicy", "sensorium")["targetRefs"][0].update(
                name="x"
            ),
        },
    ),
    life.ends_are_told: (
        L4,
        {
            "of a server": lambda o: server(o).main.pop("terminationMessagePolicy"),
            "of a gateway, by a file": lambda o: gateway(o).main.update(terminationMessagePolicy="File"),
        },
    ),
    life.downloads_are_not_given_up: (
        L4,
        {
            "the default of Kubernetes": lambda o: spec(o, "Job", "sensorium-download-text").pop("backoffLimit"),
            "a deadline": lambda o: spec(o, "Job", "sensorium-download-text").update(activeDeadlineSeconds=600),
        },
    ),
}
