"""Decides which parts of a GBNF grammar become lexemes of the library's lexer.

The library's lexer takes the longest match and does not backtrack. GBNF has no lexemes: every derivation of the text
counts. Both accept the same texts if one character of lookahead decides which lexeme begins and whether it goes on.
Lexemes for which it does not decide are split, down to single characters if necessary, for which it always does.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from services.engine.structure.gbnf import ROOT
from services.engine.structure.gbnf_nodes import LAST_CHARACTER, Node, Ranges, overlap, union
from services.engine.structure.gbnf_parts import Division, Either, Lexeme, Part, Repeated, Row, RuleCall
from services.engine.structure.gbnf_positions import Positions, TooManyPositions


def divide(rules: Mapping[str, Node]) -> dict[str, Part]:
    """Returns parts for the rules, including `root`, that accept the same texts when they are read with a lexer."""
    apart: set[Node] = set()
    traits = _Traits(rules)
    while True:
        parts = Division(rules, apart).parts()
        # A regular grammar is a single lexeme, so there are no conflicts.
        if isinstance(parts[ROOT], Lexeme) or not (conflicts := _Neighbours(parts, traits).conflicts()):
            return parts
        apart |= conflicts


@dataclass(frozen=True)
class _Trait:
    """What conflicts of a lexeme depend on; see Positions."""

    nullable: bool
    single: bool
    first: Ranges
    extensions: Ranges


class _Traits(dict[Node, _Trait]):
    """The traits of lexemes, computed on demand. A lexeme that is too large is assumed to conflict with everything."""

    def __init__(self, rules: Mapping[str, Node]) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, node: Node) -> _Trait:
        try:
            positions = Positions(node, self._rules)
            trait = _Trait(positions.nullable, positions.single, positions.first, positions.extensions)
        except TooManyPositions:
            everything = ((0, LAST_CHARACTER),)
            trait = _Trait(True, False, everything, everything)
        self[node] = trait
        return trait


@dataclass(frozen=True)
class _Edges:
    """The lexemes that a part may begin and end with. They grow until a fixed point is reached."""

    nullable: bool = False
    first: frozenset[Node] = frozenset()
    last: frozenset[Node] = frozenset()


class _Neighbours:
    """Finds the lexemes that may occur at the same position or directly after each other."""

    def __init__(self, parts: Mapping[str, Part], traits: _Traits) -> None:
        self._traits = traits
        self._behind: defaultdict[Node, set[Node]] = defaultdict(set)
        self._rules = dict.fromkeys(parts, _Edges())
        while True:
            found = {name: self._edges(part) for name, part in parts.items()}
            if found == self._rules:
                break
            self._rules = found

    def conflicts(self) -> set[Node]:
        """Returns the lexemes that one character of lookahead does not tell from others, except single characters."""
        found: set[Node] = set()
        for node, behind in self._behind.items():
            following = union([span for other in behind for span in self._traits[other].first])
            if overlap(self._traits[node].extensions, following):
                found.add(node)
        for place in {self._rules[ROOT].first, *map(frozenset, self._behind.values())}:
            for one, other in combinations(place, 2):
                if overlap(self._traits[one].first, self._traits[other].first):
                    found |= {one, other}
        return {node for node in found if not self._traits[node].single}

    def _edges(self, part: Part) -> _Edges:
        match part:
            case Lexeme(node):
                return _Edges(self._traits[node].nullable, frozenset([node]), frozenset([node]))
            case RuleCall(name):
                return self._rules[name]
            case Row(parts):
                edges = _Edges(nullable=True)
                for inner in parts:
                    edges = self._join(edges, self._edges(inner))
                return edges
            case Either(parts):
                inner = [self._edges(one) for one in parts]
                return _Edges(
                    any(edges.nullable for edges in inner),
                    frozenset().union(*(edges.first for edges in inner)),
                    frozenset().union(*(edges.last for edges in inner)),
                )
            case Repeated(inner, least, most):
                edges = self._edges(inner)
                if most is None or most > 1:
                    self._join(edges, edges)
                return _Edges(edges.nullable or least == 0, edges.first, edges.last)

    def _join(self, left: _Edges, right: _Edges) -> _Edges:
        for node in left.last:
            self._behind[node] |= right.first
        return _Edges(
            left.nullable and right.nullable,
            left.first | right.first if left.nullable else left.first,
            left.last | right.last if right.nullable else right.last,
        )
