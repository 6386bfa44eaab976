"""A server that answers every RPC of the contract with what the test puts in."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from sensorium.errors import SensoriumError, TaskNotSupported
from sensorium.status import to_status, trailers
from sensorium.v1 import models_pb2, multimodal_pb2, speech_pb2, text_pb2, vision_pb2

MODULES = (text_pb2, vision_pb2, speech_pb2, multimodal_pb2, models_pb2)
SERVICES = [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()]
ENDPOINT = "replica-1:50051"

Behaviour = Callable[[Any, grpc.ServicerContext], Any]


@dataclass
class Seen:
    """A call as it reached the server."""

    rpc: str
    request: Any
    metadata: dict[str, str | bytes]


@dataclass
class Fake:
    """`answers` maps `TextService/Generate` and the like to what that RPC does; the rest is not supported."""

    target: str = ""
    answers: dict[str, Behaviour] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def handle(self, rpc: str, request: Any, context: grpc.ServicerContext) -> Any:
        metadata = {entry.key: entry.value for entry in context.invocation_metadata()}
        self.seen.append(Seen(rpc, request, metadata))
        request_id = str(metadata.get("x-request-id"))
        context.send_initial_metadata((("x-request-id", request_id), ("x-sensorium-endpoint", ENDPOINT)))
        try:
            if rpc not in self.answers:
                raise TaskNotSupported(f"The model cannot do {rpc}.")
            return self.answers[rpc](request, context)
        except SensoriumError as error:
            abort(error, request_id, context)

    def stream(self, rpc: str, request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
        events = self.handle(rpc, request, context)
        try:
            yield from events
        except SensoriumError as error:
            abort(error, self.seen[-1].metadata["x-request-id"], context)


def abort(error: SensoriumError, request_id: str, context: grpc.ServicerContext) -> None:
    status = to_status(error, request_id)
    context.set_trailing_metadata(trailers(status))
    context.abort(error.code, status.message)


def handler_of(fake: Fake, method: MethodDescriptor) -> grpc.RpcMethodHandler:
    rpc = f"{method.containing_service.name}/{method.name}"
    parse = GetMessageClass(method.input_type).FromString

    def whole(request: Any, context: grpc.ServicerContext) -> Any:
        return fake.handle(rpc, request, context)

    def streamed(request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
        return fake.stream(rpc, request, context)

    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(streamed, parse, lambda message: message.SerializeToString())
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(streamed, parse, lambda message: message.SerializeToString())
    return grpc.unary_unary_rpc_method_handler(whole, parse, lambda message: message.SerializeToString())


@contextmanager
def serving(credentials: grpc.ServerCredentials | None = None) -> Iterator[Fake]:
    fake = Fake()
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    for service in SERVICES:
        handlers = {method.name: handler_of(fake, method) for method in service.methods}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.full_name, handlers)])
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    fake.target = f"127.0.0.1:{port}"
    server.start()
    try:
        yield fake
    finally:
        server.stop(grace=None).wait()
