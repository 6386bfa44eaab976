"""Translates a GBNF grammar to the library's own notation, a variant of Lark."""

import json
from collections.abc import Mapping

from services.engine.structure.gbnf import read_gbnf
from services.engine.structure.gbnf_lexemes import divide
from services.engine.structure.gbnf_nodes import (
    Characters,
    Choice,
    Concatenation,
    Node,
    Ranges,
    Reference,
    Repetition,
)
from services.engine.structure.gbnf_parts import Either, Lexeme, Part, Repeated, Row, RuleCall

_SURROGATES = (0xD800, 0xDFFF)


def gbnf_to_lark(text: str) -> str:
    """Returns the GBNF grammar `text` in the library's notation. Raises StructureRefused if it is invalid."""
    rules = read_gbnf(text)
    return _Writer(rules, divide(rules)).text()


def literal(text: str) -> str:
    """Returns a text as a quoted literal. The notation accepts JSON strings, except for a raw DEL character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


class _Writer:
    """Writes a separate definition for every composite part and node, because the notation limits nesting."""

    def __init__(self, rules: Mapping[str, Node], parts: Mapping[str, Part]) -> None:
        self._rules = rules
        self._parts = parts
        self._names: dict[Node | Part, str] = {}
        self._lines: list[str] = []
        self._ahead: list[Node | Part] = []

    def text(self) -> str:
        """Returns the whole grammar."""
        self._lines.append(f"start: {self._named(RuleCall('root'))}")
        while self._ahead:
            item = self._ahead.pop()
            self._lines.append(f"{self._names[item]}: {self._definition(item)}")
        return "\n".join(self._lines) + "\n"

    def _named(self, item: Node | Part) -> str:
        """Returns the name of an item, and queues its definition if it is new. Terminals have upper case names."""
        item = item.node if isinstance(item, Lexeme) else item
        while isinstance(item, Reference):
            item = self._rules[item.name]
        if item not in self._names:
            terminal = isinstance(item, Node)
            self._names[item] = f"{'T' if terminal else 'r'}{len(self._names)}"
            self._ahead.append(item)
        return self._names[item]

    def _definition(self, item: Node | Part) -> str:
        match item:
            case RuleCall(name):
                return self._named(self._parts[name])
            case Row(parts):
                return " ".join(map(self._named, parts)) or '""'
            case Concatenation(items):
                return self._concatenation(items)
            case Either(inner) | Choice(inner):
                return " | ".join(map(self._named, inner))
            case Repeated(inner, least, most) | Repetition(inner, least, most):
                return f"{self._named(inner)}{_times(least, most)}" if most != 0 else '""'
            case Characters(ranges):
                return _class(ranges)
            case Lexeme() | Reference():
                raise AssertionError("has the name of what it stands for")

    def _concatenation(self, items: tuple[Node, ...]) -> str:
        written: list[str] = []
        text = ""
        for item in items:
            if isinstance(item, Characters) and item.ranges[0][0] == item.ranges[-1][1]:
                text += chr(item.ranges[0][0])
                continue
            written += [literal(text)] if text else []
            text = ""
            written.append(self._named(item))
        written += [literal(text)] if text else []
        return " ".join(written) or '""'


def _times(least: int, most: int | None) -> str:
    if most is None:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return "?" if (least, most) == (0, 1) else f"{{{least},{most}}}"


def _class(ranges: Ranges) -> str:
    """Returns a character class without surrogates, which cannot be in a text."""
    low, high = _SURROGATES
    spans = [
        span
        for first, last in ranges
        for span in ((first, min(last, low - 1)), (max(first, high + 1), last))
        if span[0] <= span[1]
    ]
    return "/[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in spans) + "]/"
