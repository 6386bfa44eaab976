"""Parses grammars in GBNF, the notation of llama.cpp, to nodes.

The library's own converter from GBNF is not used: it drops zeros in escapes, confuses similar names, and joins rules to
lexemes regardless of what follows them, which makes some grammars impossible to complete.
"""

import re

from services.engine.structure.format import StructureRefused
from services.engine.structure.gbnf_nodes import (
    LAST_CHARACTER,
    Characters,
    Choice,
    Node,
    Reference,
    Repetition,
    complement,
    concatenation,
    references,
    union,
)

ROOT = "root"
MAX_DEPTH = 50
MAX_REPETITIONS = 1_000_000
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_DEFINITION = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)[ \t]*::=")
_REPETITION = re.compile(r"[*+?]|\{\s*(\d{0,7})\s*(?:(,)\s*(\d{0,7})\s*)?\}")
_HEXADECIMAL = {"x": 2, "u": 4, "U": 8}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read_gbnf(text: str) -> dict[str, Node]:
    """Returns the rules of a grammar that are reachable from `root`, by name.

    Raises:
        StructureRefused: the grammar is invalid; the message names the line.
    """
    rules = _Reader(text).rules()
    if ROOT not in rules:
        raise StructureRefused(f"has no rule `{ROOT}`")
    reached: dict[str, Node] = {}
    ahead = [ROOT]
    while ahead:
        name = ahead.pop()
        if name in reached:
            continue
        if name not in rules:
            raise StructureRefused(f"refers to a rule `{name}` that it does not define")
        reached[name] = rules[name]
        ahead += references(rules[name])
    return reached


class _Reader:
    """A recursive descent parser with a position in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._depth = 0

    def rules(self) -> dict[str, Node]:
        """Parses the whole text."""
        rules: dict[str, Node] = {}
        self._skip(_SPACE)
        while self._place < len(self._text):
            definition = self._skip(_DEFINITION)
            if not definition:
                raise self._wrong("expected a rule, `name ::= …`")
            if definition[1] in rules:
                raise self._wrong(f"the rule `{definition[1]}` is defined a second time")
            rules[definition[1]] = self._choice()
        return rules

    def _choice(self) -> Node:
        alternatives = [self._sequence()]
        while self._take("|"):
            alternatives.append(self._sequence())
        return alternatives[0] if len(alternatives) == 1 else Choice(tuple(alternatives))

    def _sequence(self) -> Node:
        items: list[Node] = []
        while True:
            self._skip(_SPACE)
            here = self._text[self._place : self._place + 1]
            if not here or here in "|)" or _DEFINITION.match(self._text, self._place):
                return concatenation(items)
            items.append(self._repeated(self._item(here)))

    def _item(self, here: str) -> Node:
        if here == "(":
            return self._group()
        if self._take('"'):
            literal: list[Node] = []
            while not self._take('"'):
                character = self._character()
                literal.append(Characters(((character, character),)))
            return concatenation(literal)
        if self._take("["):
            return self._class()
        if self._take("."):
            return Characters(((0, LAST_CHARACTER),))
        if name := self._skip(_NAME):
            return Reference(name[0])
        if here in "<!":
            raise self._wrong("tokens cannot be named, only text")
        raise self._wrong(f"unexpected {here!r}")

    def _group(self) -> Node:
        self._place += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"groups may be nested {MAX_DEPTH} deep at most")
        inner = self._choice()
        if not self._take(")"):
            raise self._wrong("a group is not closed")
        self._depth -= 1
        return inner

    def _class(self) -> Node:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            first = last = self._character()
            if (
                self._text[self._place : self._place + 1] == "-"
                and self._text[self._place + 1 : self._place + 2] != "]"
            ):
                self._place += 1
                last = self._character()
            if last < first:
                raise self._wrong("a range of characters ends before it begins")
            ranges.append((first, last))
        found = complement(union(ranges)) if negated else union(ranges)
        if not found:
            raise self._wrong("a class of characters holds none")
        return Characters(found)

    def _character(self) -> int:
        character = self._text[self._place : self._place + 1]
        if not character:
            raise self._wrong("a text or a class of characters is not closed")
        self._place += 1
        if character != "\\":
            return ord(character)
        escape = self._text[self._place : self._place + 1]
        self._place += 1
        if size := _HEXADECIMAL.get(escape):
            digits = self._text[self._place : self._place + size]
            self._place += size
            if len(digits) == size and re.fullmatch("[0-9A-Fa-f]+", digits):
                point = int(digits, 16)
                if point <= LAST_CHARACTER and not 0xD800 <= point <= 0xDFFF:
                    return point
            raise self._wrong(f"\\{escape}{digits} is no character")
        if escape in _ESCAPES:
            return ord(_ESCAPES[escape])
        if escape and escape in '\\"[]-^/':
            return ord(escape)
        raise self._wrong(f"the escape \\{escape} is not known")

    def _repeated(self, item: Node) -> Node:
        while True:
            self._skip(_BLANKS)
            found = self._skip(_REPETITION)
            if not found:
                return item
            if found[0] in "*+?":
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[0]]
            else:
                least = int(found[1] or 0)
                most = (int(found[3]) if found[3] else None) if found[2] else least
                if not (found[1] or found[3]) or (most is not None and most < least):
                    raise self._wrong(f"{found[0]} is no number of repetitions")
                if max(least, most or 0) > MAX_REPETITIONS:
                    raise self._wrong(f"{found[0]} exceeds {MAX_REPETITIONS} repetitions")
            item = Repetition(item, least, most)

    def _take(self, character: str) -> bool:
        found = self._text[self._place : self._place + 1] == character
        self._place += found
        return found

    def _skip(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._place)
        if found:
            self._place = found.end()
        return found

    def _wrong(self, words: str) -> StructureRefused:
        line = self._text.count("\n", 0, self._place) + 1
        return StructureRefused(f"line {line}: {words}")
