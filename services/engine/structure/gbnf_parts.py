"""Divides a grammar into rules for the library's parser and lexemes for its lexer."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from services.engine.structure.gbnf import ROOT
from services.engine.structure.gbnf_nodes import (
    Characters,
    Choice,
    Concatenation,
    Node,
    Reference,
    Repetition,
    concatenation,
    references,
)


@dataclass(frozen=True)
class Lexeme:
    """A node that the lexer reads as one token."""

    node: Node


@dataclass(frozen=True)
class RuleCall:
    """A call of a rule."""

    name: str


@dataclass(frozen=True)
class Row:
    """A sequence of parts."""

    parts: tuple["Part", ...]


@dataclass(frozen=True)
class Either:
    """One of several parts."""

    parts: tuple["Part", ...]


@dataclass(frozen=True)
class Repeated:
    """A part `least` to `most` times; None: unbounded."""

    part: "Part"
    least: int
    most: int | None


Part = Lexeme | RuleCall | Row | Either | Repeated


def called_rules(part: Part) -> Iterator[str]:
    """Yields the names of the rules that a part calls."""
    match part:
        case RuleCall(name):
            yield name
        case Row(parts) | Either(parts):
            for inner in parts:
                yield from called_rules(inner)
        case Repeated(inner):
            yield from called_rules(inner)
        case Lexeme():
            pass


def regular_rules(rules: Mapping[str, Node]) -> frozenset[str]:
    """Returns the rules that neither are recursive nor refer to recursive ones: each can be a single lexeme."""
    regular: set[str] = set()
    waiting = {name: set(references(node)) for name, node in rules.items()}
    while ready := [name for name, needed in waiting.items() if needed <= regular]:
        regular.update(ready)
        for name in ready:
            del waiting[name]
    return frozenset(regular)


class Division:
    """Divides rules into parts. Lexemes are as long as possible, except that the nodes in `apart` are split."""

    def __init__(self, rules: Mapping[str, Node], apart: Collection[Node]) -> None:
        self._rules = rules
        self._apart = apart
        self._regular = regular_rules(rules)

    def parts(self) -> dict[str, Part]:
        """Returns the part of each rule that is still called, including `root`."""
        parts: dict[str, Part] = {}
        ahead = [ROOT]
        while ahead:
            name = ahead.pop()
            if name not in parts:
                parts[name] = self._part(self._rules[name])
                ahead += called_rules(parts[name])
        return parts

    def _part(self, node: Node) -> Part:
        if isinstance(node, Characters) or (self._is_regular(node) and node not in self._apart):
            return Lexeme(node)
        match node:
            case Concatenation(items):
                return Row(tuple(map(self._part, self._runs(items))))
            case Choice(alternatives):
                return Either(tuple(map(self._part, self._merged(alternatives))))
            case Repetition(item, least, most):
                return Repeated(self._part(item), least, most)
            case Reference(name):
                return RuleCall(name)

    def _runs(self, items: tuple[Node, ...]) -> Iterator[Node]:
        """Joins adjacent regular items to one node, unless that node is in `apart` or is the whole sequence."""
        run: list[Node] = []
        for item in [*items, None]:
            if item is not None and self._is_regular(item):
                run.append(item)
                continue
            joined = concatenation(run)
            yield from run if joined in self._apart or joined == Concatenation(items) else [joined] if run else []
            run = []
            if item is not None:
                yield item

    def _merged(self, alternatives: tuple[Node, ...]) -> Iterator[Node]:
        """Joins regular alternatives to one node, unless that node is in `apart` or is the whole choice."""
        regular = tuple(item for item in alternatives if self._is_regular(item))
        merged = Choice(regular)
        if len(regular) < 2 or merged in self._apart or len(regular) == len(alternatives):
            yield from alternatives
        else:
            yield merged
            yield from (item for item in alternatives if not self._is_regular(item))

    def _is_regular(self, node: Node) -> bool:
        return self._regular.issuperset(references(node))
