"""Who talks to whom, as the network policies together say it."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.k8s.manifests import Manifest, Workload, environment, gateways, matches, model_servers, of_kind, workloads


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod, or an address outside."""

    name: str
    namespace: Mapping[str, str] = field(default_factory=dict)
    """Labels of its namespace."""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""


_PROMETHEUS = Peer(
    "Prometheus", {"kubernetes.io/metadata.name": "monitoring"}, {"app.kubernetes.io/name": "prometheus"}
)
_CALLER = Peer("a caller", {"kubernetes.io/metadata.name": "shop", "sensorium-client": "true"}, {"app": "shop"})
_STRANGER = Peer("a stranger", {"kubernetes.io/metadata.name": "games"}, {"app": "game"})
_COLLECTOR = Peer("a collector", {"kubernetes.io/metadata.name": "monitoring"}, {"app": "otel-collector"})
_PROXY = Peer("a proxy", {"kubernetes.io/metadata.name": "envoy-gateway-system"}, {"app": "envoy"})
_DNS = Peer("DNS", {"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"})
_API_SERVER = Peer("the API server", address="10.96.0.1")
_INTERNET = Peer("the internet", address="93.184.215.14")


def only_what_has_to_talk_may(objects: list[Manifest]) -> Iterator[str]:
    for source, target, port, wanted in _talks(objects):
        if may_talk(objects, source, target, port) != wanted:
            yield f"{source.name} {'cannot' if wanted else 'may'} reach {target.name} at {port}"


def nothing_talks_unless_allowed(objects: list[Manifest]) -> Iterator[str]:
    everything = [
        policy["spec"]
        for policy in of_kind(objects, "NetworkPolicy")
        if policy["spec"]["podSelector"] == {} and not {"ingress", "egress"} & set(policy["spec"])
    ]
    if not any(set(spec["policyTypes"]) == {"Ingress", "Egress"} for spec in everything):
        yield "no policy denies all traffic"


def proxies_come_in_where_there_is_a_way(objects: list[Manifest]) -> Iterator[str]:
    (gateway,) = (_peer(objects, each) for each in gateways(objects))
    wanted = bool(of_kind(objects, "GRPCRoute"))
    if may_talk(objects, _PROXY, gateway, "grpc") != wanted:
        yield f"proxies {'cannot' if wanted else 'may'} reach {gateway.name}"


def _talks(objects: list[Manifest]) -> Iterator[tuple[Peer, Peer, str | int, bool]]:
    """Yields who reaches whom at which port, and whether it should."""
    servers = [_peer(objects, each) for each in model_servers(objects)]
    downloads = [_peer(objects, each) for each in workloads(objects) if each.component == "model-download"]
    (gateway,) = (_peer(objects, each) for each in gateways(objects))
    neighbour = Peer("a pod beside it", gateway.namespace, {"app": "debug"})
    for server in servers:
        yield from ((gateway, server, "grpc", True), (_PROMETHEUS, server, "metrics", True))
        yield from ((gateway, server, "metrics", False), (_PROMETHEUS, server, "grpc", False))
        for other in (_CALLER, _STRANGER, neighbour, servers[0]):
            yield other, server, "grpc", False
        yield from (
            (server, _API_SERVER, 443, False),
            (server, _INTERNET, 443, False),
            (server, gateway, "grpc", False),
        )
    yield from ((_CALLER, gateway, "grpc", True), (_PROMETHEUS, gateway, "metrics", True))
    yield from ((_CALLER, gateway, "metrics", False), (_STRANGER, gateway, "grpc", False))
    yield from ((gateway, _API_SERVER, port, True) for port in (443, 6443))
    yield from (
        (gateway, _INTERNET, 443, False),
        (neighbour, gateway, "grpc", False),
        (gateway, gateway, "grpc", False),
    )
    for download in downloads:
        yield from ((download, _INTERNET, 443, True), (download, _INTERNET, 80, False))
        yield from ((download, _API_SERVER, 443, False), (download, servers[0], "grpc", False))
        yield _STRANGER, download, 443, False
    for pod in (*servers, *downloads, gateway):
        yield pod, _DNS, 53, True
    traced = "SENSORIUM_OTLP_ENDPOINT" in environment(objects, model_servers(objects)[0].main)
    for pod in (*servers, gateway):
        yield pod, _COLLECTOR, 4317, traced


def _peer(objects: list[Manifest], workload: Workload) -> Peer:
    (namespace,) = of_kind(objects, "Namespace")
    own = {"kubernetes.io/metadata.name": namespace["metadata"]["name"], **namespace["metadata"].get("labels", {})}
    return Peer(workload.name, own, workload.labels, workload.ports)


def may_talk(objects: list[Manifest], source: Peer, target: Peer, port: str | int) -> bool:
    """Returns whether a TCP connection is let out of the source and into the target.

    A policy counts for pods of its own namespace; what no policy selects talks freely.
    """
    number = target.ports[port] if isinstance(port, str) else port
    policies = of_kind(objects, "NetworkPolicy")
    return _lets(policies, "Egress", source, target, number, target.ports) and _lets(
        policies, "Ingress", target, source, number, target.ports
    )


def _lets(policies: list[Manifest], way: str, pod: Peer, other: Peer, number: int, named: Mapping[str, int]) -> bool:
    counting = [
        policy
        for policy in policies
        if pod.namespace.get("kubernetes.io/metadata.name") == policy["metadata"]["namespace"]
        and way in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], pod.labels)
    ]
    if not counting:
        return True
    end = "from" if way == "Ingress" else "to"
    return any(
        any(_is(other, peer, policy["metadata"]["namespace"]) for peer in rule[end])
        and any(named.get(port["port"], port["port"]) == number for port in rule["ports"] if port["protocol"] == "TCP")
        for policy in counting
        for rule in policy["spec"].get(way.lower(), [])
    )


def _is(other: Peer, peer: Mapping[str, Any], namespace: str) -> bool:
    if "ipBlock" in peer:
        inside = [
            other.address and ipaddress.ip_address(other.address) in ipaddress.ip_network(block)
            for block in (peer["ipBlock"]["cidr"], *peer["ipBlock"].get("except", []))
        ]
        return bool(inside[0]) and not any(inside[1:])
    if other.address:
        return False
    if "namespaceSelector" in peer:
        return matches(peer["namespaceSelector"], other.namespace) and matches(peer.get("podSelector"), other.labels)
    return other.namespace.get("kubernetes.io/metadata.name") == namespace and matches(
        peer["podSelector"], other.labels
    )


POLICIES = [only_what_has_to_talk_may, nothing_talks_unless_allowed, proxies_come_in_where_there_is_a_way]
