"""Keeps what a generator returns, which a loop over it drops."""

from collections.abc import Generator
from typing import Generic, TypeVar

S = TypeVar("S")
R = TypeVar("R")


class KeptResult(Generic[S, R]):
    """The steps of a generator, to be iterated over once."""

    value: R
    """What the generator returned, once all of it was read."""

    def __init__(self, steps: Generator[S, None, R]) -> None:
        self._steps = steps

    def __iter__(self) -> Generator[S]:
        self.value = yield from self._steps
