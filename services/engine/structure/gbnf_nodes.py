"""What a grammar in GBNF consists of. Nodes are values: equal ones are the same lexeme."""

from collections.abc import Iterator
from dataclasses import dataclass

LAST_CHARACTER = 0x10FFFF
Ranges = tuple[tuple[int, int], ...]
"""Code points from first to last, in order, apart from each other."""


@dataclass(frozen=True)
class Characters:
    """One character out of some."""

    ranges: Ranges


@dataclass(frozen=True)
class Reference:
    """What the rule of this name derives."""

    name: str


@dataclass(frozen=True)
class Concatenation:
    """Items one behind the other; none: the empty text."""

    items: tuple["Node", ...]


@dataclass(frozen=True)
class Choice:
    """One of two or more alternatives."""

    alternatives: tuple["Node", ...]


@dataclass(frozen=True)
class Repetition:
    """An item `least` to `most` times; None: without an end."""

    item: "Node"
    least: int
    most: int | None


Node = Characters | Reference | Concatenation | Choice | Repetition


def children(node: Node) -> tuple[Node, ...]:
    """Returns what a node consists of."""
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
    """Returns items one behind the other, without a layer around a single one."""
    return items[0] if len(items) == 1 else Concatenation(tuple(items))


def union(ranges: list[tuple[int, int]]) -> Ranges:
    """Returns ranges in order, those that touch joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def complement(ranges: Ranges) -> Ranges:
    """Returns all other characters."""
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
    """Returns whether some character is in both."""
    i = j = 0
    while i < len(one) and j < len(other):
        if one[i][1] < other[j][0]:
            i += 1
        elif other[j][1] < one[i][0]:
            j += 1
        else:
            return True
    return False
