"""Glushkov's automaton of a lexeme: what characters it may begin with, and what may extend a complete match."""

from collections.abc import Mapping

from services.engine.structure.gbnf_nodes import (
    Characters,
    Choice,
    Concatenation,
    Node,
    Ranges,
    Reference,
    Repetition,
    overlap,
    union,
)

_MOST_POSITIONS = 2_000
_MOST_PAIRS = 20_000
_Ends = tuple[bool, list[int], list[int]]
"""Whether the part may be empty, its first positions, its last positions."""


class TooManyPositions(Exception):
    """A lexeme is too large to analyse."""


class Positions:
    """The automaton of one node without recursive references. Positions are occurrences of character classes."""

    def __init__(self, node: Node, rules: Mapping[str, Node]) -> None:
        """Raises TooManyPositions if the node is too large."""
        self._rules = rules
        self._ranges: list[Ranges] = []
        self._behind: list[set[int]] = []
        self.nullable, self._first, last = self._add(node)
        self._last = set(last)

    @property
    def single(self) -> bool:
        """Whether every match is one character."""
        return not self.nullable and not any(self._behind)

    @property
    def first(self) -> Ranges:
        """The characters that a match may begin with."""
        return self._union(self._first)

    @property
    def extensions(self) -> Ranges:
        """The characters that may follow a complete match within a longer one.

        Raises:
            TooManyPositions: there are too many pairs of positions.
        """
        extending: set[int] = set()
        # Pairs of positions that the same text can lead to.
        ahead = [(p, q) for p in self._first for q in self._first if overlap(self._ranges[p], self._ranges[q])]
        seen = set(ahead)
        while ahead:
            p, q = ahead.pop()
            if p in self._last:
                extending |= self._behind[q]
            for pair in ((a, b) for a in self._behind[p] for b in self._behind[q]):
                if pair not in seen and overlap(self._ranges[pair[0]], self._ranges[pair[1]]):
                    seen.add(pair)
                    ahead.append(pair)
            if len(seen) > _MOST_PAIRS:
                raise TooManyPositions
        return self._union([*extending, *(self._first if self.nullable else ())])

    def _union(self, positions: list[int]) -> Ranges:
        return union([span for position in positions for span in self._ranges[position]])

    def _add(self, node: Node) -> _Ends:
        match node:
            case Characters(ranges):
                if len(self._ranges) == _MOST_POSITIONS:
                    raise TooManyPositions
                self._ranges.append(ranges)
                self._behind.append(set())
                place = len(self._ranges) - 1
                return False, [place], [place]
            case Reference(name):
                return self._add(self._rules[name])
            case Concatenation(items):
                ends: _Ends = (True, [], [])
                for item in items:
                    ends = self._join(ends, self._add(item))
                return ends
            case Choice(alternatives):
                added = [self._add(alternative) for alternative in alternatives]
                firsts = [place for _, first, _ in added for place in first]
                return any(empty for empty, _, _ in added), firsts, [place for _, _, last in added for place in last]
            case Repetition(item, least, most):
                return self._repeat(item, least, most)

    def _join(self, left: _Ends, right: _Ends) -> _Ends:
        self._follow(left[2], right[1])
        first = left[1] + right[1] if left[0] else left[1]
        return left[0] and right[0], first, left[2] + right[2] if right[0] else right[2]

    def _repeat(self, item: Node, least: int, most: int | None) -> _Ends:
        if max(least, most or 0) > _MOST_POSITIONS:
            raise TooManyPositions
        ends: _Ends = (True, [], [])
        for i in range(max(least, 1) if most is None else most):
            empty, first, last = self._add(item)
            if most is None and i >= least - 1:
                self._follow(last, first)
            ends = self._join(ends, (empty or i >= least, first, last))
        return ends

    def _follow(self, places: list[int], behind: list[int]) -> None:
        for place in places:
            self._behind[place].update(behind)
