import inspect

import pytest
from google.protobuf.descriptor import MethodDescriptor

from sensorium import AsyncClient, Client
from sensorium.client.awaited.generation import AsyncTextService
from sensorium.client.blocking.generation import TextService
from sensorium.client.call import CallOptions
from sensorium.client.contract import TABLES
from sensorium.client.generation import GenerationOptions
from sensorium.client.rpc import Bidi, Rpc, ServerStream, Unary, rpcs_of
from sensorium.v1.common_pb2 import AssistantMessage, ChatPrompt, GenerationParameters
from tests.client.fake import SERVICES

METHODS = [method for service in SERVICES for method in service.methods]


def kind(method: MethodDescriptor) -> type[Rpc]:
    if method.client_streaming:
        return Bidi
    return ServerStream if method.server_streaming else Unary


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_is_a_method_of_its_kind(method: MethodDescriptor) -> None:
    (table,) = [table for table in TABLES if table.service == method.containing_service.full_name]
    (rpc,) = [rpc for rpc in rpcs_of(table).values() if rpc.name == method.name]
    assert type(rpc) is kind(method)
    assert rpc.method.name == f"/{method.containing_service.full_name}/{method.name}"
    assert rpc.request.DESCRIPTOR is method.input_type
    assert rpc.response.DESCRIPTOR is method.output_type


def test_no_method_is_beyond_the_contract() -> None:
    declared = [rpc for table in TABLES for rpc in rpcs_of(table)]
    assert len(declared) == len(METHODS)


async def test_both_clients_have_every_service() -> None:
    blocking = Client()
    for client in (blocking, AsyncClient()):
        services = (client.text, client.vision, client.speech, client.multimodal, client.models)
        assert all(isinstance(service, table) for service, table in zip(services, TABLES, strict=True))
    blocking.close()


def test_generation_options_are_the_generation_parameters() -> None:
    own = set(GenerationOptions.__annotations__) - set(CallOptions.__annotations__)
    assert own == {field.name for field in GenerationParameters.DESCRIPTOR.fields} - {
        "logprob_count",  # the pieces of text have no place for them
        "prompt_logprob_count",
        "candidate_count",  # candidates would be mixed
    }


@pytest.mark.parametrize("method", ["stream_chat", "stream_message"])
def test_conversations_take_what_the_contract_has_for_them(method: str) -> None:
    own = set(inspect.signature(getattr(TextService, method)).parameters) - {"self", "system", "options"}
    assert own == {field.name.removesuffix("_json") for field in ChatPrompt.DESCRIPTOR.fields} - {
        "parse_response",  # is what one of them does
        "continue_last_message",  # what comes is no whole message
    }
    blocking, awaited = (inspect.signature(getattr(kind, method)) for kind in (TextService, AsyncTextService))
    assert blocking.parameters == awaited.parameters


def test_every_field_of_an_answer_is_gathered() -> None:
    assert [field.name for field in AssistantMessage.DESCRIPTOR.fields] == ["reasoning", "content", "tool_calls"]
