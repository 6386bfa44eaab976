"""From what a caller wants to a grammar of the library."""

from llguidance import LLMatcher, regex_to_lark

from services.engine.structure.format import StructureFormat, StructureKind
from services.engine.structure.gbnf_lark import gbnf_to_lark, literal
from services.engine.structure.json_schema import schema_grammar


def grammar_of(wanted: StructureFormat) -> str:
    """Returns the grammar, which the library may still refuse.

    Raises:
        StructureRefused: the text is none of its kind.
    """
    match wanted.kind:
        case StructureKind.JSON_SCHEMA:
            return schema_grammar(wanted.texts[0])
        case StructureKind.JSON_OBJECT:
            return schema_grammar('{"type": "object"}')
        case StructureKind.REGEX:
            # Letters, digits and spaces are those of ASCII, as RE2 and ECMAScript have it.
            return LLMatcher.grammar_from_lark(
                f"start: EXPRESSION\nEXPRESSION: /{regex_to_lark(wanted.texts[0], 'dws')}/\n"
            )
        case StructureKind.CHOICE_LIST:
            choices = " | ".join(map(literal, dict.fromkeys(wanted.texts)))
            return LLMatcher.grammar_from_lark(f"start: CHOICE\nCHOICE: {choices}\n")
        case StructureKind.GRAMMAR:
            return LLMatcher.grammar_from_lark(gbnf_to_lark(wanted.texts[0]))
