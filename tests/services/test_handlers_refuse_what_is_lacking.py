from types import SimpleNamespace

import pytest

from sensorium.errors import TaskNotSupported
from sensorium.tasks import METHODS
from sensorium.v1 import text_pb2 as pb
from services.handlers import handlers

SERVICE = "sensorium.v1.TextService"
OWN = {"Generate", "StreamGenerate", "Tokenize", "Detokenize"}


class Servicer:
    async def Tokenize(self, request: pb.TokenizeRequest, context: object) -> pb.TokenizeResponse:
        return pb.TokenizeResponse()


def handler(name: str) -> object:
    details = SimpleNamespace(method=f"/{SERVICE}/{name}", invocation_metadata=())
    return handlers(SERVICE, Servicer(), "tiny").service(details)


def test_every_rpc_of_the_service_has_a_handler_of_its_shape() -> None:
    names = [method for method in METHODS.values() if method.service == SERVICE]
    assert len(names) == 14
    for method in names:
        made = handler(method.name.rpartition("/")[2])
        assert (made.request_streaming, made.response_streaming) == (
            method.request_is_stream,
            method.response_is_stream,
        )
        assert isinstance(made.request_deserializer(b""), method.request_type)


async def test_what_the_servicer_has_is_called() -> None:
    made = handler("Tokenize")
    request = made.request_deserializer(pb.TokenizeRequest(texts=["x"]).SerializeToString())
    assert request.texts == ["x"]
    response = await made.unary_unary(request, None)
    assert made.response_serializer(response) == b""


async def test_what_it_lacks_is_refused_by_name() -> None:
    with pytest.raises(TaskNotSupported) as refused:
        await handler("Embed").unary_unary(pb.EmbedRequest(), None)
    assert refused.value.metadata == {"model": "tiny", "rpc": "Embed"}
    with pytest.raises(TaskNotSupported):
        await handler("StreamTranslate").unary_stream(pb.StreamTranslateRequest(), None)


def test_another_service_has_no_handler_here() -> None:
    details = SimpleNamespace(method="/sensorium.v1.VisionService/ClassifyImage", invocation_metadata=())
    assert handlers(SERVICE, Servicer(), "tiny").service(details) is None
