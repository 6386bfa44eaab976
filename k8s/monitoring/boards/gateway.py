"""The gateway: what callers ask, what they get, and what stands between."""

from k8s.monitoring.board import Board, Variable
from k8s.monitoring.boards.calls import ASKED, GLANCE, REQUESTS, STREAMS
from k8s.monitoring.boards.endpoints import ENDPOINTS, FAULTS, QUEUE

GATEWAY = Board(
    name="gateway",
    title="sensorium / Gateway",
    description="What callers ask, what they get, and what stands between.",
    variables=[
        Variable("namespace", REQUESTS),
        Variable("task", REQUESTS),
        Variable("model", REQUESTS),
        Variable("pool", "sensorium_gateway_endpoints"),
    ],
    rows=[GLANCE, ASKED, STREAMS, QUEUE, FAULTS, ENDPOINTS],
)
