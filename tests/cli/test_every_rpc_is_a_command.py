import inspect
from collections import Counter

import pytest
from google.protobuf.descriptor import MethodDescriptor
from typer.main import get_group
from typer.testing import CliRunner

from sensorium.cli import app
from sensorium.cli.app import COMMANDS, GROUPS, application
from sensorium.cli.command import RpcCommand
from sensorium.cli.descriptors import fields_of, message_of
from sensorium.cli.fields import Parameter, parameters
from sensorium.cli.server import server_parameters
from sensorium.client.contract import TABLES
from sensorium.client.rpc import Rpc, rpcs_of
from tests.client.fake import SERVICES

METHODS = [method for service in SERVICES for method in service.methods]
RPCS = [rpc for table in TABLES for rpc in rpcs_of(table).values()]


def kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("-")


@pytest.fixture(scope="module")
def application_once() -> object:
    return application()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_is_a_command_with_help(method: MethodDescriptor, application_once: object) -> None:
    service = method.containing_service.name
    group = GROUPS.get(service, service.removesuffix("Service").lower())
    command = COMMANDS.get(method.name, kebab(method.name))
    done = CliRunner().invoke(application_once, [group, command, "--help"])
    assert done.exit_code == 0
    assert "--request-id" in done.output


def test_there_is_no_other_command_but_top() -> None:
    group = get_group(application())
    groups = [inner for name, inner in group.commands.items() if name != "top"]
    commands = [name for inner in groups for name in inner.commands]
    assert len(commands) == len(METHODS)


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.method.name)
def test_no_two_parameters_share_a_name(rpc: Rpc) -> None:
    own: list[Parameter] = RpcCommand("", "", rpc)._parameters
    assert [name for name, count in Counter(parameter.name for parameter in own).items() if count > 1] == []
    taken = {*server_parameters(), "json", "request", "output"} - {"model"}
    assert not taken & {parameter.name for parameter in own}


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.method.name)
def test_every_field_can_be_given(rpc: Rpc) -> None:
    request = rpc.request.DESCRIPTOR
    reached = {parameter.name for parameter in parameters(request)}
    for field in fields_of(request):
        inner = message_of(field)
        names = {part.name for part in fields_of(inner)} if inner and field.name not in reached else set()
        spread = {f"{field.name}_{name}" for name in names} | names
        assert field.name in reached | {"model"} or spread & reached, field.name


def test_a_call_waits_for_no_command_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Noticed(RpcCommand):
        def __init__(self, service: str, method: str, rpc: Rpc) -> None:
            made.append(f"{service} {method}")
            super().__init__(service, method, rpc)

    monkeypatch.setattr(app, "RpcCommand", Noticed)
    assert CliRunner().invoke(application(), ["text", "answer-question", "--help"]).exit_code == 0
    assert made == ["text answer_question"]
    assert "answer-question" in CliRunner().invoke(application(), ["text", "answr-question"]).output
    assert len(made) == 1


def test_the_contracts_own_words_are_the_help() -> None:
    done = CliRunner().invoke(application(), ["text", "rerank", "--help"], env={"COLUMNS": "200"})
    assert "Scores documents by relevance to a query." in done.output
    assert "What is looked for." in done.output


def test_a_command_takes_only_keywords() -> None:
    signature = inspect.signature(RpcCommand("text", "embed", rpcs_of(TABLES[0])["embed"]).function())
    assert {parameter.kind for parameter in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
