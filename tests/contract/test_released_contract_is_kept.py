"""The current contract is compatible with the released one, and each kind of breaking change is caught."""

from pathlib import Path

import pytest

from protos.generate import RELEASED
from tests.contract.breaking_changes import breaking_changes
from tests.contract.elements import Contract
from tests.contract.sample import SAMPLE, compiled, edited

BREAKING = [
    ("  // Rank. Default 0.\n  int32 priority = 3;\n", "", "priority = 3 was removed"),
    ("int32 priority = 3", "int32 priority = 30", "priority = 3 was removed or renumbered"),
    ("int32 priority = 3", "int32 urgency = 3", "renamed to urgency"),
    ("int32 priority = 3", "int64 priority = 3", "type from TYPE_INT32 to TYPE_INT64"),
    ("int32 priority = 3", "repeated int32 priority = 3", "label from singular to repeated"),
    ("int32 priority = 3", "optional int32 priority = 3", "presence from plain to optional"),
    ("optional int32 sample_count", "int32 sample_count", "presence from optional to plain"),
    ("int32 priority = 3", "int32 priority = 3 [json_name = 'p']", "JSON name from priority to p"),
    ("GenerationParameters parameters = 5", "Usage parameters = 5", "named type from .sensorium.v1.Generation"),
    ("map<int32, float> weights", "map<int32, double> weights", "map of TYPE_INT32 to TYPE_DOUBLE"),
    ("oneof source", "oneof origin", "oneof from source to origin"),
    ("    bytes data = 8;\n  }", "  }\n  bytes data = 8;", "oneof from source to none"),
    ("  // Red.\n  COLOR_RED = 1;\n", "", "COLOR_RED = 1 was removed"),
    ("COLOR_RED = 1", "COLOR_RED = 2", "COLOR_RED = 1 was removed or renumbered"),
    ("COLOR_RED = 1", "COLOR_ROUGE = 1", "renamed to COLOR_ROUGE"),
    ("rpc Make(MakeRequest) returns (MakeResponse);", "", "rpc sensorium.v1.SampleService.Make was removed"),
    ("rpc Make(MakeRequest)", "rpc Make(stream MakeRequest)", "client_streaming from False to True"),
    ("returns (stream StreamMakeResponse)", "returns (StreamMakeResponse)", "server_streaming from True to False"),
    ("rpc Make(MakeRequest)", "rpc Make(Usage)", "input_type from .sensorium.v1.MakeRequest"),
    ("returns (MakeResponse)", "returns (Usage)", "output_type from .sensorium.v1.MakeResponse"),
    ("package sensorium.v1;", "package sensorium.v2;", "message sensorium.v1.MakeRequest was removed"),
]


def test_released_contract_is_kept(contract: Contract) -> None:
    assert breaking_changes(Contract.read(RELEASED), contract) == []


def test_released_contract_holds_every_service(contract: Contract) -> None:
    released = {element.name for element in Contract.read(RELEASED).of("service")}
    assert released == {element.name for element in contract.of("service")}


@pytest.mark.parametrize(("old", "new", "change"), BREAKING, ids=[change for _, _, change in BREAKING])
def test_breaking_change_is_caught(old: str, new: str, change: str, tmp_path: Path) -> None:
    released = compiled(tmp_path / "released")
    current = compiled(tmp_path / "current", edited(old, new))
    assert any(change in found for found in breaking_changes(released, current))


@pytest.mark.parametrize(("kind", "name"), [("enum", "Color"), ("message", "Timing"), ("service", "SampleService")])
def test_removal_is_caught(kind: str, name: str, tmp_path: Path) -> None:
    released = compiled(tmp_path / "released")
    current = compiled(tmp_path / "current", SAMPLE.replace(name, f"Other{name}"))
    assert f"{kind} sensorium.v1.{name} was removed" in breaking_changes(released, current)


def test_message_that_moves_to_another_file_is_caught(tmp_path: Path) -> None:
    released = compiled(tmp_path / "released")
    current = compiled(tmp_path / "current", path="sensorium/v1/other.proto")
    assert any("moved from" in found for found in breaking_changes(released, current))


def test_additions_break_nobody(tmp_path: Path) -> None:
    added = edited("int32 priority = 3;", "int32 priority = 3; string note = 90; message Nested {} ")
    added = added.replace("COLOR_RED = 1;", "COLOR_RED = 1; COLOR_BLUE = 2;")
    added = added.replace("bytes data = 8;", "bytes data = 8; string uri = 91;")
    assert breaking_changes(compiled(tmp_path / "released"), compiled(tmp_path / "current", added)) == []
