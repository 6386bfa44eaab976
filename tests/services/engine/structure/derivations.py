"""Finds out by exhaustive search whether a grammar derives a text: the oracle for the translation of grammars."""

from collections.abc import Mapping

from services.engine.structure.gbnf_nodes import Characters, Choice, Concatenation, Node, Reference, Repetition


class Derivations:
    """The parts of one text that each node of a grammar derives."""

    def __init__(self, rules: Mapping[str, Node], text: str) -> None:
        self._rules = rules
        self._text = text
        self._ends: dict[tuple[Node, int], frozenset[int]] = {}

    def whole(self) -> bool:
        """Returns whether `root` derives the text."""
        root = Reference("root")
        # Iterate to a fixed point, which handles left recursion.
        while True:
            before = dict(self._ends)
            ends = self._of(root, 0, set())
            if self._ends == before:
                return len(self._text) in ends

    def _of(self, node: Node, begin: int, open_: set[tuple[Node, int]]) -> frozenset[int]:
        key = (node, begin)
        known = self._ends.get(key, frozenset())
        if key in open_:
            return known
        open_.add(key)
        self._ends[key] = known | self._try(node, begin, open_)
        return self._ends[key]

    def _try(self, node: Node, begin: int, open_: set[tuple[Node, int]]) -> frozenset[int]:
        match node:
            case Characters(ranges):
                here = self._text[begin : begin + 1]
                found = bool(here) and any(first <= ord(here) <= last for first, last in ranges)
                return frozenset([begin + 1] if found else [])
            case Reference(name):
                return self._of(self._rules[name], begin, open_)
            case Choice(alternatives):
                return frozenset().union(*(self._of(one, begin, open_) for one in alternatives))
            case Concatenation(items):
                ends = frozenset([begin])
                for item in items:
                    ends = frozenset().union(*(self._of(item, end, open_) for end in ends))
                return ends
            case Repetition(item, least, most):
                return self._times(item, least, most, begin, open_)

    def _times(
        self, item: Node, least: int, most: int | None, begin: int, open_: set[tuple[Node, int]]
    ) -> frozenset[int]:
        ends, all_ends = frozenset([begin]), frozenset([begin] if least == 0 else [])
        for i in range(1, (len(self._text) + least if most is None else most) + 1):
            ends = frozenset().union(*(self._of(item, end, open_) for end in ends))
            all_ends |= ends if i >= least else frozenset()
        return all_ends
