"""The gateway's board: calls, streams, queues, faults and endpoints."""

from k8s.monitoring.board import Board, Variable
from k8s.monitoring.boards.calls import ASKED, GLANCE, REQUESTS, STREAMS
from k8s.monitoring.boards.endpoints import ENDPOINTS, FAULTS, QUEUE

GATEWAY = Board(
    name="gateway",
    title="sensorium / Gateway",
    description="Calls and their results, queues, retries and endpoints.",
    variables=[
        Variable("namespace", REQUESTS),
        Variable("task", REQUESTS),
        Variable("model", REQUESTS),
        Variable("pool", "sensorium_gateway_endpoints"),
    ],
    rows=[GLANCE, ASKED, STREAMS, QUEUE, FAULTS, ENDPOINTS],
)
