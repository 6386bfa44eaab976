"""The programs of docs/clients use only fields that the contract has, each in the spelling of its language."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.v1 import common_pb2, text_pb2

PROGRAMS = Path(__file__).parent.parent.parent / "docs/clients"
USED = {
    text_pb2.StreamGenerateRequest: ["chat", "parameters"],
    text_pb2.GenerateRequest: ["prompt", "parameters"],
    common_pb2.ChatPrompt: ["messages"],
    common_pb2.ChatMessage: ["role", "content"],
    common_pb2.GenerationParameters: ["max_new_tokens", "temperature"],
    text_pb2.StreamGenerateResponse: ["delta", "completed"],
    common_pb2.GenerationDelta: ["text"],
}


def _as_it_is(name: str) -> str:
    return rf"\b(?:(?:set|add|has|mutable)_)?{name}\b"


def _pascal(name: str) -> str:
    return rf"(?:\b|set|get|add|has|Get){name.title().replace('_', '')}\b"


def _camel(name: str) -> str:
    return rf"\b{re.sub('_([a-z])', lambda letter: letter[1].upper(), name)}\b"


@pytest.mark.parametrize(
    ("program", "spelling"),
    [
        ("Chat.java", _pascal),
        ("chat.cc", _as_it_is),
        ("chat.go", _pascal),
        ("chat.js", _as_it_is),
        ("chat.ts", _camel),
    ],
)
def test_a_program_names_fields_of_the_contract(program: str, spelling: Callable[[str], str]) -> None:
    text = (PROGRAMS / program).read_text()
    for message, names in USED.items():
        for name in names:
            assert name in message.DESCRIPTOR.fields_by_name
            assert re.search(spelling(name), text), f"{message.__name__}.{name} as {spelling(name)}"


def test_every_program_is_on_the_page() -> None:
    page = (PROGRAMS.parent / "clients.md").read_text()
    assert {path.name for path in PROGRAMS.iterdir()} == set(re.findall(r"\(clients/([\w.]+)\)", page))
