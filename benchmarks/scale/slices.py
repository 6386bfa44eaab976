"""Estimates the API server's traffic for EndpointSlice watches: size of a slice, and number of events."""

import json

ENDPOINTS_PER_SLICE = 100
"""Kubernetes' default limit."""
EVENTS_PER_REPLICA = 3
"""Events of a roll-out: the new pod appears and becomes ready; the old one terminates. Batched changes need fewer."""


def slice_bytes(endpoints: int = ENDPOINTS_PER_SLICE) -> int:
    """Returns the JSON size of a full EndpointSlice in bytes; every event carries the whole slice."""
    one = {
        "addresses": ["10.244.123.123"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "gpu-pool-0123456789-abcde",
        "zone": "europe-west4-a",
        "targetRef": {
            "kind": "Pod",
            "namespace": "sensorium",
            "name": "sensorium-text-7c9d8b6f5d-abcde",
            "uid": "01234567-89ab-cdef-0123-456789abcdef",
        },
    }
    whole = {
        "type": "MODIFIED",
        "object": {
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": "sensorium-text-abcde", "namespace": "sensorium", "resourceVersion": "123456789"},
            "addressType": "IPv4",
            "ports": [{"name": "grpc", "port": 50051, "protocol": "TCP"}],
            "endpoints": [one] * endpoints,
        },
    }
    return len(json.dumps(whole, separators=(",", ":")))


def roll_out_bytes(gateways: int, replicas: int) -> int:
    """Returns the most bytes that a roll-out of all replicas makes the API server send to all gateways."""
    return gateways * replicas * EVENTS_PER_REPLICA * slice_bytes(min(replicas, ENDPOINTS_PER_SLICE))
