"""Translates a StructureFormat to a grammar of the library."""

import json
from typing import Any

from llguidance import LLMatcher, regex_to_lark

from services.engine.structure.format import StructureFormat, StructureKind
from services.engine.structure.gbnf_lark import gbnf_to_lark, literal
from services.engine.structure.json_schema import checked_schema

_OPTIONS = '%llguidance {"no_forcing": true}\n'
"""By default, the library forces the tokenizer's own tokens for text without alternatives, and tokenizes that text out
of context. With this option it allows every tokenization, and the model chooses."""


def grammar_of(wanted: StructureFormat) -> str:
    """Returns the grammar as the library's JSON. The library may still refuse it.

    Raises:
        StructureRefused: the text is not valid for its kind.
        RecursionError: it is nested too deeply.
    """
    match wanted.kind:
        case StructureKind.JSON_SCHEMA:
            return _document(checked_schema(wanted.texts[0]))
        case StructureKind.JSON_OBJECT:
            return _document(checked_schema('{"type": "object"}'))
        case StructureKind.REGEX:
            # \d, \w and \s match ASCII only, as in RE2 and ECMAScript.
            return _lark(f"start: EXPRESSION\nEXPRESSION: /{regex_to_lark(wanted.texts[0], 'dws')}/\n")
        case StructureKind.CHOICE_LIST:
            choices = " | ".join(map(literal, dict.fromkeys(wanted.texts)))
            return _lark(f"start: CHOICE\nCHOICE: {choices}\n")
        case StructureKind.GRAMMAR:
            return _lark(gbnf_to_lark(wanted.texts[0]))


def _lark(text: str) -> str:
    return LLMatcher.grammar_from_lark(_OPTIONS + text)


def _document(schema: dict[str, Any]) -> str:
    start = {"lark_grammar": _OPTIONS + "start: @document\n"}
    return json.dumps({"grammars": [start, {"name": "document", "json_schema": schema}]})
