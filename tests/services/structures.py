"""Compiles structured-output formats in this process, for the vocabulary of the tiny models."""

import json
import random
from functools import cache
from typing import Any

import numpy as np

from services.engine.structure.format import StructureFormat, StructureKind
from services.engine.structure.grammar import grammar_of
from services.engine.structure.structure import Structure, StructureState
from services.engine.structure.vocabulary import Vocabulary
from tests.tiny.language_models import tokenizer

NUMBER = "[0-9]{1,4}(\\.[0-9]{2})?"
ARITHMETIC = """
root   ::= sum
sum    ::= product (("+" | "-") product)*
product ::= factor (("*" | "/") factor)*   # binds more tightly
factor ::= [0-9]+ | "(" sum ")"
"""
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "bb", 3, None]}, "maxItems": 3},
        "friend": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@cache
def tiny_vocabulary() -> Vocabulary:
    """Returns the tiny models' vocabulary."""
    return Vocabulary(tokenizer())


def wanted(kind: str, *texts: str) -> StructureFormat:
    """Returns a format; `kind` is the name of its field in the request."""
    return StructureFormat(StructureKind(kind), texts)


def schema(value: Any) -> StructureFormat:
    """Returns the format of a JSON Schema."""
    return wanted("json_schema", json.dumps(value))


def compiled(asked: StructureFormat, vocabulary: Vocabulary | None = None) -> Structure:
    """Compiles a format. Raises what `grammar_of` and `Structure` raise."""
    return Structure(asked.field, grammar_of(asked), vocabulary or tiny_vocabulary(), 0)


def regex(text: str) -> Structure:
    """Compiles a regular expression."""
    return compiled(wanted("regex", text))


def possible(state: StructureState) -> list[int]:
    """Returns the ids of the text tokens that the mask allows next."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(state.mask(), np.uint8), bitorder="little")).tolist()


def walk(structure: Structure, seed: int, most: int) -> tuple[list[int], bool]:
    """Returns up to `most` random allowed tokens, and whether the output may end there. It may stop early."""
    state, dice, ids = structure.begin(), random.Random(seed), list[int]()
    for _ in range(most):
        choices = possible(state)
        if not choices or (state.accepting and dice.random() < 0.1):
            break
        ids.append(dice.choice(choices))
        assert state.advance(ids[-1:]) == 1
    return ids, state.accepting


def accepts(structure: Structure, text: str) -> bool:
    """Returns whether the structure accepts a text, in the tokens that the tokenizer makes of it."""
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"] if text else []
    state = structure.begin()
    return state.advance(ids) == len(ids) and state.accepting
