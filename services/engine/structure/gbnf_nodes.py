"""The syntax tree of a GBNF grammar. Nodes are values: equal nodes become the same lexeme."""

from collections.abc import Iterator
from dataclasses import dataclass

LAST_CHARACTER = 0x10FFFF
Ranges = tuple[tuple[int, int], ...]
"""Inclusive ranges of code points, sorted, neither overlapping nor touching."""


@dataclass(frozen=True)
class Characters:
    """One character of a class."""

    ranges: Ranges


@dataclass(frozen=True)
class Reference:
    """A reference to a rule."""

    name: str


@dataclass(frozen=True)
class Concatenation:
    """A sequence of items; without items, the empty text."""

    items: tuple["Node", ...]


@dataclass(frozen=True)
class Choice:
    """One of two or more alternatives."""

    alternatives: tuple["Node", ...]


@dataclass(frozen=True)
class Repetition:
    """An item `least` to `most` times; None: unbounded."""

    item: "Node"
    least: int
    most: int | None


Node = Characters | Reference | Concatenation | Choice | Repetition


def children(node: Node) -> tuple[Node, ...]:
    """Returns the direct children of a node."""
    if isinstance(node, Concatenation):
        return node.items
    if isinstance(node, Choice):
        return node.alternatives
    return (node.item,) if isinstance(node, Repetition) else ()


def references(node: Node) -> Iterator[str]:
    """Yields the names of the rules a node refers to."""
    if isinstance(node, Reference):
        yield node.name
    for child in children(node):
        yield from references(child)


def concatenation(items: list[Node]) -> Node:
    """Returns the sequence of the items; a single item is returned as it is."""
    return items[0] if len(items) == 1 else Concatenation(tuple(items))


def union(ranges: list[tuple[int, int]]) -> Ranges:
    """Returns the ranges sorted and merged."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def complement(ranges: Ranges) -> Ranges:
    """Returns the ranges of all other characters."""
    others: list[tuple[int, int]] = []
    begin = 0
    for first, last in ranges:
        if begin < first:
            others.append((begin, first - 1))
        begin = last + 1
    if begin <= LAST_CHARACTER:
        others.append((begin, LAST_CHARACTER))
    return tuple(others)


def overlap(one: Ranges, other: Ranges) -> bool:
    """Returns whether the ranges have a character in common."""
    i = j = 0
    while i < len(one) and j < len(other):
        if one[i][1] < other[j][0]:
            i += 1
        elif other[j][1] < one[i][0]:
            j += 1
        else:
            return True
    return False
