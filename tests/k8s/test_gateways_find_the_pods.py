"""From what is applied, EndpointSlices as Kubernetes writes them; from these, the gateway's own members."""

from typing import Any

import pytest

from gateway.discovery.places import ServicePort
from gateway.discovery.slices import SERVICE_LABEL, members_of, mistakes_in
from tests.k8s.manifests import Manifest, environment, gateways, matches, model_servers, of_kind, pool_of
from tests.k8s.rendering import OVERLAYS
from tests.k8s.variants import objects_of


def slices(objects: list[Manifest]) -> list[dict[str, Any]]:
    """One for each Service, with one ready pod of each Deployment that it selects."""
    pods = {server.name: (f"10.0.0.{place}", server) for place, server in enumerate(model_servers(objects))}
    return [
        {
            "metadata": {"name": service["metadata"]["name"], "labels": {SERVICE_LABEL: service["metadata"]["name"]}},
            "addressType": "IPv4",
            "ports": [{"name": port["name"], "port": server.ports[port["targetPort"]]} for port in spec["ports"]],
            "endpoints": [
                {"addresses": [address], "conditions": {"ready": True, "serving": True, "terminating": False}}
            ],
        }
        for service in of_kind(objects, "Service")
        for spec in [service["spec"]]
        for address, server in pods.values()
        if matches({"matchLabels": spec["selector"]}, server.labels)
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_found_in_its_pool_at_its_port(overlay: str) -> None:
    objects = objects_of(f"overlays/{overlay}")
    (gateway,) = gateways(objects)
    told = environment(objects, gateway.main)["SENSORIUM_ENDPOINTSLICES"].split(",")
    places = [ServicePort.parse(text) for text in told]
    assert mistakes_in(slices(objects), places) == []
    found = {(member.pool, member.address) for member in members_of(slices(objects), places)}
    wanted = enumerate(model_servers(objects))
    assert found == {(pool_of(server), f"10.0.0.{place}:{server.ports['grpc']}") for place, server in wanted}
