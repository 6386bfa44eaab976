"""Policies with holes, and policies without the holes that are needed."""

from typing import Any

from tests.k8s.faults.places import H100, L4, spec
from tests.k8s.manifests import Manifest, find
from tests.k8s.policies import network

_EVERYBODY: dict[str, Any] = {"namespaceSelector": {}}


def _policy(objects: list[Manifest], name: str) -> Any:
    return spec(objects, "NetworkPolicy", name)


def _remove(objects: list[Manifest], name: str) -> None:
    policy = find(objects, "NetworkPolicy", name)
    assert policy is not None
    objects.remove(policy)


FAULTS = {
    network.only_what_has_to_talk_may: (
        L4,
        {
            "a server open to all": lambda o: _policy(o, "sensorium-text")["ingress"][0]["from"].append(_EVERYBODY),
            "a port too many": lambda o: _policy(o, "sensorium-text")["ingress"][1]["ports"].append(
                {"protocol": "TCP", "port": "grpc"}
            ),
            "a number of another pool": lambda o: _policy(o, "sensorium-vision")["ingress"][0]["ports"][0].update(
                port=50051
            ),
            "the gateway by a label it has not": lambda o: _policy(o, "sensorium-text")["ingress"][0].update(
                {"from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "sensorium-text"}}}]}
            ),
            "no Prometheus": lambda o: _policy(o, "sensorium-gateway")["ingress"].pop(),
            "a policy of every pod": lambda o: _policy(o, "sensorium-gateway").update(podSelector={}),
            "servers may go out": lambda o: _policy(o, "allow-dns")["egress"].append(
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"protocol": "TCP", "port": 443}]}
            ),
            "no names": lambda o: _remove(o, "allow-dns"),
            "the gateway goes anywhere": lambda o: _policy(o, "sensorium-gateway")["egress"][1]["to"].append(
                {"ipBlock": {"cidr": "0.0.0.0/0"}}
            ),
            "no API server": lambda o: _policy(o, "sensorium-gateway")["egress"].pop(),
            "the download goes inside": lambda o: _policy(o, "sensorium-download")["egress"][0]["to"][0]["ipBlock"].pop(
                "except"
            ),
            "nothing denied": lambda o: _remove(o, "default-deny"),
        },
    ),
    network.nothing_talks_unless_allowed: (
        H100,
        {
            "nothing denied": lambda o: _remove(o, "default-deny"),
            "only one way": lambda o: _policy(o, "default-deny")["policyTypes"].remove("Egress"),
            "only some pods": lambda o: _policy(o, "default-deny").update(podSelector={"matchLabels": {"a": "b"}}),
        },
    ),
    network.proxies_come_in_where_there_is_a_way: (
        H100,
        {"no proxy": lambda o: _remove(o, "sensorium-proxy")},
    ),
}
