"""A step's inputs are the same, whether all were filled in or the previous ones moved on by one token."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.step_inputs import LaidRows, StepInputs
from services.engine.generation.recorded.step_shape import StepShape, decoding_shapes
from services.engine.generation.recorded.transfer import Transfer, copied
from services.engine.generation.sampling.device_choice import DRAWS, NUMBERS, Draws, numbers_of
from services.engine.generation.sequence import CachedTokens, Row
from tests.services.dice import dice
from tests.services.engine.generation.sequences import sequence as sequence_of

PAGE, LONGEST, STEPS = 4, 40, 24


class Places(StepInputs):
    """The inputs of a step of up to four rows, which tests can read."""

    def __init__(self, transfer: Transfer = copied) -> None:
        super().__init__(decoding_shapes(4), LONGEST // PAGE, PAGE, torch.device("cpu"), self.part, {}, transfer)

    @staticmethod
    def part(contexts: list[int], _blocks: int) -> int:
        return sum(contexts) // 3 + 1

    def held(self, shape: StepShape) -> list[Any]:
        """Returns all inputs of a step but pages, since those behind a row's own pages have no meaning."""
        token, source, *parts, _ = self.parts(shape)
        return [part.tolist() for part in (token.where(source < 0, 0), source, *parts, self.numbers(shape))]

    def tables(self, shape: StepShape, pages: list[list[int]]) -> list[list[int]]:
        """Returns the pages to which the blocks of these rows point."""
        *_, blocks, _, laid = self.parts(shape)
        firsts = blocks[: len(pages), 3].tolist()
        return [laid[first : first + len(own)].tolist() for first, own in zip(firsts, pages, strict=True)]


def rows_of(source: random.Random, pool: PagePool, count: int) -> list[Row[Any]]:
    sequences = [CachedTokens([1] * source.randrange(1, 2 * PAGE)) for _ in range(count)]
    for sequence in sequences:
        sequence.computed = len(sequence.token_ids) - 1
        pool.grow(sequence.pages, len(sequence.token_ids))
    shifted: Any = SimpleNamespace(shift=-1)  # media in a prompt shift positions
    sequences[0].media = shifted
    return [Row(sequence, 1) for sequence in sequences]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_rows_that_go_on_lie_as_if_they_were_filled_in(count: int) -> None:
    source, pool = dice(), PagePool(4 * LONGEST // PAGE, PAGE)
    shape = next(shape for shape in decoding_shapes(4) if shape.size >= count)
    rows, kept = rows_of(source, pool, count), Places()
    went_on, laid = 0, kept.fill(rows, shape, None, np.zeros((NUMBERS, count)))
    for _ in range(STEPS):
        for row in rows:  # the last token is not read yet
            pool.grow(row.sequence.pages, len(row.sequence.token_ids) + 1)
        numbers = np.zeros((NUMBERS, count))
        numbers[DRAWS] = [source.random() for _ in range(count)]
        assert laid is not None
        if kept.go_on(laid, numbers[DRAWS]):
            went_on += 1
        else:
            laid = kept.fill(rows, shape, range(count), numbers)
        anew = Places()
        anew.fill(rows, shape, range(count), numbers)
        pages = [row.sequence.pages for row in rows]
        assert kept.held(shape) == anew.held(shape)
        assert kept.tables(shape, pages) == pages
        for row in rows:
            row.sequence.token_ids.append(1)
    assert went_on >= STEPS - 4  # when rows get longer, their stride in the table grows


def test_rows_do_not_go_on_where_others_were_filled_in() -> None:
    pool, inputs = PagePool(4 * LONGEST // PAGE, PAGE), Places()
    shape = decoding_shapes(4)[-1]
    rows, others = rows_of(dice(), pool, 2), rows_of(dice(), pool, 2)
    laid: LaidRows | None = inputs.fill(rows, shape)
    inputs.fill(others, shape)
    held = inputs.held(shape)
    assert laid is not None
    assert not inputs.go_on(laid)
    assert inputs.held(shape) == held


def test_draws_that_are_made_for_some_steps_are_those_of_each() -> None:
    sequences = [sequence_of([5] * length, temperature=1.0, seed=7 * length) for length in (1, 2, 9)]
    draws = Draws(sequences)
    for _ in range(40):
        found = numbers_of(sequences, [1] * len(sequences))
        assert found is not None
        assert draws.take().tolist() == found[DRAWS].tolist()
        for sequence in sequences:
            sequence.token_ids.append(1)


def test_steps_with_and_without_adapters_share_a_transfer() -> None:
    made = list[tuple[int, ...]]()

    def transfer(source: Tensor, target: Tensor, *what: int) -> Callable[[], object]:
        made.append(what)
        return copied(source, target, *what)

    kept, pool = Places(transfer), PagePool(LONGEST, PAGE)
    for shape in decoding_shapes(4):
        row = rows_of(dice(), pool, 1)
        for own in (shape, shape.twin):
            kept.fill(row, own)
            assert kept.parts(own)[2][0] == row[0].sequence.computed - 1  # its position, as media shift it
    assert len(made) == len(set(made)) == len(decoding_shapes(4))
