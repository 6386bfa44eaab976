"""A fake pool of ready endpoints without connections."""

from typing import NoReturn

from gateway.discovery import Member
from gateway.endpoints.catalog import Catalog
from gateway.endpoints.endpoint import Endpoint
from gateway.endpoints.router import EndpointState
from sensorium.v1 import models_pb2

MODEL = "Qwen/Qwen3-8B"


class KnownEndpoints:
    """A number of endpoints of one pool, with one model each."""

    def __init__(self, count: int) -> None:
        self.names = ("text",)
        self.endpoints = [_endpoint(f"10.0.{number // 256}.{number % 256}:50051") for number in range(count)]
        self.catalog = Catalog(self.endpoints, 1.5)


def _endpoint(address: str) -> Endpoint:
    endpoint = Endpoint(Member(address, "text"), _unreached)
    info = models_pb2.ModelInfo(
        state=models_pb2.MODEL_STATE_READY, concurrency=32, tasks=[models_pb2.TASK_GENERATE_TEXT]
    )
    info.identity.name = MODEL
    endpoint.learn((info,))
    endpoint.health = EndpointState.READY
    return endpoint


def _unreached(member: Member) -> NoReturn:
    raise AssertionError(f"{member.address} is not there")
