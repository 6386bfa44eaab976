"""Whoever proposes pays: time is made up here, so that what is compared is not the machine's."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.sequence import Row, Sequence
from services.engine.generation.speculation.prompt_lookup import Lookup
from services.engine.generation.speculation.run_index import RunIndex
from services.engine.generation.speculation.speculation import Speculation
from services.engine.metrics import EngineMetrics
from tests.services.engine.generation.sequences import sequence

Text = Callable[[int], int]
"""Which token stands at a place, whatever is proposed."""
TOKENS = 1500


def repeating(place: int) -> int:
    return 10 + place % 12


def random_text(seed: int) -> Text:
    dice = random.Random(seed)
    tokens = [dice.randrange(6, 30) for _ in range(3 * TOKENS)]
    return lambda place: tokens[place]


def begun(text: Text, asks: bool) -> Sequence:
    """Returns a sequence whose prompt, the beginning of a text, is computed but for its last token."""
    made = sequence(
        [text(i) for i in range(24)], max_new_tokens=10 * TOKENS, lookup=PromptLookup(16, 3) if asks else None
    )
    made.computed, made.processors = 23, ()
    return made


def served(
    texts: list[tuple[Text, bool]], price: float, dice: random.Random, gap: float | None = None
) -> tuple[list[float], int]:
    """Returns the steps that each text has taken for a token, where `price` is what a proposed token costs of a step.

    Also tells how many tokens were proposed. With a `gap`, steps are launched ahead, and one that is not waits so long.
    """
    pool, now = PagePool(4096, 16), 0.0
    speculation = Speculation(pool, EngineMetrics(CollectorRegistry()), lambda: now, ahead=gap is not None)
    rows = [begun(text, asks) for text, asks in texts]
    spent, proposed, launched = [0.0] * len(texts), 0, False
    while min(len(one.token_ids) for one in rows) < TOKENS:
        for one in rows:
            assert pool.grow(one.pages, len(one.token_ids))
        wide = [Row(one, 1, decodes=True) for one in rows]
        seconds = 1 + (0 if launched or gap is None else gap)
        wide = wide if launched else speculation.widen(wide)
        width = sum(len(row.proposed) for row in wide)
        launched = gap is not None and not width and not speculation.awaits(wide)
        seconds, drawn = seconds + price * width, list[Sequence]()
        for i, row in enumerate(wide):
            known = len(row.sequence.token_ids)
            right = [texts[i][0](known + j) for j in range(len(row.proposed) + 1)]
            count = next((j for j, token in enumerate(row.proposed) if token != right[j]), len(row.proposed))
            assert len(row.sequence.pages) >= pool.pages_for(known + len(row.proposed))
            spent[i] += seconds
            drawn += [row.sequence] * (count + 1)
        now += seconds * dice.uniform(0.9, 1.1)
        speculation.settle(wide, drawn)
        proposed += width
        for i, one in enumerate(rows):
            new = drawn.count(one)
            one.computed += new
            one.token_ids += [texts[i][0](len(one.token_ids) + j) for j in range(new)]
            assert len(one.pages) <= pool.pages_for(len(one.token_ids))
    return [time / (len(one.token_ids) - 24) for time, one in zip(spent, rows, strict=True)], proposed


@pytest.mark.parametrize("gap", [None, 0.3])
@pytest.mark.parametrize("price", [0.01, 0.1, 0.7])
@pytest.mark.parametrize("neighbours", [1, 7])
def test_neighbours_lose_a_few_percent_at_most(price: float, neighbours: int, gap: float | None) -> None:
    dice = random.Random()
    texts = [(repeating, True), *((random_text(i), False) for i in range(neighbours))]
    (asking, *others), proposed = served(texts, price, dice, gap)
    assert max(others) < 1.05
    assert asking < 1.05
    assert proposed > 0


@pytest.mark.parametrize("gap", [None, 0.3, 1.5])
@pytest.mark.parametrize("price", [0.01, 0.1, 0.7])
def test_a_text_that_does_not_repeat_itself_costs_next_to_nothing(price: float, gap: float | None) -> None:
    (alone,), _ = served([(random_text(dice_seed()), True)], price, random.Random(), gap)
    assert alone < 1.04


def test_a_text_that_repeats_itself_gains_alone_and_beside_others_that_do() -> None:
    for count in (1, 4):
        spent, _ = served([(repeating, True)] * count, 0.05, random.Random())
        assert max(spent) < (0.3 if count == 1 else 0.5)
        spent, _ = served([(repeating, True)] * count, 0.05, random.Random(), gap=0.3)
        assert max(spent) < (0.35 if count == 1 else 0.6)


def test_where_a_token_costs_more_than_a_step_proposals_cease() -> None:
    (alone,), proposed = served([(repeating, True)], 1.2, random.Random())
    assert alone < 1.05
    assert proposed < TOKENS / 4


def dice_seed() -> int:
    return random.SystemRandom().randrange(1 << 30)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_runs_are_found_where_they_stood_last(size: int) -> None:
    dice = random.Random(dice_seed())
    ids = [dice.randrange(4) for _ in range(300)]
    one, many = RunIndex(size, 2000), RunIndex(size, 2000)
    missed = 0
    for end in range(1, len(ids) + 1):
        known = ids[:end]
        one.note(known, 1 << 20)
        places = [i for i in range(size, end) if known[i - size : i] == known[-size:]]
        found = one.find(known)
        assert found is None or found in places
        missed += (found or 0) != max(places, default=0)
    assert missed <= len(ids) // 20  # runs that share a place displace each other
    while many.note(ids, 7):
        pass
    assert many.find(ids) == one.find(ids)


class Read(list[int]):
    """Tokens that count how many of them are read."""

    count = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.count += len(found) if isinstance(place, slice) else 1
        return found


def test_a_step_reads_a_bounded_part_of_a_long_prompt() -> None:
    ids = Read([*range(100, 50_100)] * 2)
    lookup, counts, found = Lookup(PromptLookup(8, 3), 200_000), list[int](), list[int]()
    while not found:
        ids.count = 0
        found = lookup.propose(ids, 8, 4096)
        counts.append(ids.count)
    assert found == ids[:4]
    assert len(counts) == len(ids) // 4096 + 1
    assert 2 * 4096 <= max(counts) < 2 * 4096 + 50  # for runs of three and of two tokens


def test_proposals_go_on_over_the_end_of_what_is_known() -> None:
    lookup = Lookup(PromptLookup(16, 3), 100)
    ids = [5, 9, 8, 9, 8, 9]
    assert lookup.propose(ids, 16, 4096) == [8, 9, 8, 9]
    assert lookup.propose(ids, 3, 4096) == [8, 9, 8]


def test_more_is_proposed_after_success_and_nothing_for_a_while_after_none() -> None:
    lookup, ids = Lookup(PromptLookup(16, 2), 10_000), [7, 8] * 20
    widths: list[int] = []
    for _ in range(4):
        widths.append(len(lookup.propose(ids, 32, 4096)))
        lookup.learn(len(ids), widths[-1], widths[-1])
    assert widths == [4, 8, 16, 16]
    tried: Counter[bool] = Counter()
    for _ in range(400):
        ids += [7, 8]
        found = lookup.propose(ids, 32, 4096)
        tried[bool(found)] += 1
        if found:
            lookup.learn(len(ids), len(found), 0)
    assert tried[True] < 20
