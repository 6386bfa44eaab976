"""The ids of calls."""

from services.engine.language.responses.calls import CallMaker
from services.engine.language.responses.typed_arguments import ToolTypes
from tests.services.engine.language.responses.styles import FORMATS


def ids(key: str, *own: object) -> list[str]:
    maker = CallMaker(ToolTypes([]), key)
    made = [maker.calls({"id": each, "name": "f", "arguments": {}}, marked=True) for each in own]
    return [call.id for calls in made for call in calls]


def test_a_call_without_an_id_gets_one_that_only_its_prompt_and_place_decide() -> None:
    made = ids("a", None, None, None)
    assert made == ids("a", None, None, None)
    assert len({*made, *ids("b", None, None, None)}) == 6
    assert all(len(each) == 9 and each.isascii() and each.isalnum() for each in made)
    assert len(ids("\ud800", None)) == 1


def test_a_models_own_id_is_kept_if_it_can_be() -> None:
    assert ids("a", "functions.f:0", "x") == ["functions.f:0", "x"]
    for bad in ("x", 5, "", ["x"], "\ud800", "x" * 1_000):
        first, second = ids("a", "x", bad)
        assert (first, len(second)) == ("x", 9)
    text = "<|tool_call_begin|>functions.f:7<|tool_call_argument_begin|>{}<|tool_call_end|>"
    assert [call.id for call in FORMATS["kimi-k2"].reader("", [], "").push(text).tool_calls] == ["functions.f:7"]
