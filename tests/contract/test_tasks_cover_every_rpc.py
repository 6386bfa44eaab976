"""The table of tasks and the facts about RPCs agree with the contract."""

import pytest

from sensorium.tasks import METHODS, SERVICES, TASKS_BY_METHOD, Method
from sensorium.v1 import models_pb2
from tests.contract.elements import Contract

RESUMABLE = [method for method in METHODS.values() if method.resumable]


def test_table_covers_every_rpc_that_runs_a_model(contract: Contract) -> None:
    rpcs = [rpc for rpc in contract.of("rpc") if not rpc.owner.endswith(".ModelService")]
    expected = {f"/{rpc.owner}/{rpc.short_name}" for rpc in rpcs}
    assert set(TASKS_BY_METHOD) == set(METHODS) == expected


def test_services_are_all_but_the_one_that_tells_of_models(contract: Contract) -> None:
    assert {s.full_name for s in SERVICES} == {s.name for s in contract.of("service")} - {"sensorium.v1.ModelService"}


def test_every_task_is_served_by_some_rpc() -> None:
    served = {task for tasks in TASKS_BY_METHOD.values() for task in tasks}
    assert served == set(models_pb2.Task.values()) - {models_pb2.TASK_UNSPECIFIED}


def test_comment_of_every_task_names_its_rpcs(contract: Contract) -> None:
    for name, tasks in TASKS_BY_METHOD.items():
        service, _, rpc = name.rpartition(".")[2].partition("/")
        for task in tasks:
            comment = contract.by_name[f"sensorium.v1.Task.{models_pb2.Task.Name(task)}"].comment
            assert comment.startswith(f"{service}.")
            assert rpc in comment.replace(".", " ").replace(",", " ").split()


def test_streams_are_told_as_the_contract_has_them(contract: Contract) -> None:
    for name, method in METHODS.items():
        rpc = contract.by_name[name.removeprefix("/").replace("/", ".")].descriptor
        assert (method.request_is_stream, method.response_is_stream) == (rpc.client_streaming, rpc.server_streaming)
        assert f".{method.request_type.DESCRIPTOR.full_name}" == rpc.input_type
        assert f".{method.response_type.DESCRIPTOR.full_name}" == rpc.output_type


def test_only_transcription_takes_a_stream() -> None:
    streams = [method.name for method in METHODS.values() if method.request_is_stream]
    assert streams == ["/sensorium.v1.SpeechService/StreamTranscribe"]


def test_streams_of_generated_text_are_the_resumable_ones() -> None:
    generating = {
        method.name
        for method in METHODS.values()
        if method.response_is_stream and _type_name(method.response_type, "delta") == "sensorium.v1.GenerationDelta"
    }
    assert {method.name for method in RESUMABLE} == generating


@pytest.mark.parametrize("method", RESUMABLE, ids=lambda method: method.name)
def test_resumable_request_takes_the_seed_and_the_delivered_tokens(method: Method) -> None:
    assert _type_name(method.request_type, "parameters") == "sensorium.v1.GenerationParameters"
    assert _type_name(method.request_type, "delivered") == "sensorium.v1.DeliveredTokens"


def _type_name(message: "type", field: str) -> str:
    found = message.DESCRIPTOR.fields_by_name.get(field)
    return found.message_type.full_name if found is not None and found.message_type else ""
