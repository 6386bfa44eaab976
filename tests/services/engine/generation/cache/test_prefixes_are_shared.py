import random

import pytest

from services.engine.generation.cache.page_keys import PageKeys
from services.engine.generation.cache.page_pool import PagePool
from tests.services.bench import BenchMaker, eventually

PAGE = 4


def keys(tokens: list[int], salt: str = "") -> list[bytes]:
    return PageKeys(tokens, PAGE, salt).first(len(tokens) // PAGE)


def test_a_key_stands_for_all_tokens_up_to_its_pages_end() -> None:
    one, other = keys([1, 2, 3, 4, 5, 6, 7, 8]), keys([9, 2, 3, 4, 5, 6, 7, 8])
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert keys([1, 2, 3, 4, 5, 6, 7, 9])[0] == one[0]
    assert not set(keys([1, 2, 3, 4], salt="tenant")) & set(one)


def test_a_published_page_is_shared_while_it_is_held_and_after() -> None:
    pool = PagePool(4, PAGE)
    first: list[int] = []
    pool.grow(first, 8)
    pool.publish(first[0], b"a")
    pool.publish(first[1], b"b")
    shared = pool.share([b"a", b"b", b"c"])
    assert shared == first
    pool.release(first)
    assert pool.free_count == 2
    pool.release(shared)
    assert pool.free_count == 4
    assert len(pool.share([b"a", b"x"])) == 1


def test_kept_pages_make_room_the_longest_unused_and_the_ends_first() -> None:
    pool = PagePool(3, PAGE)
    pages: list[int] = []
    pool.grow(pages, 12)
    for page, key in zip(pages, (b"a", b"b", b"c"), strict=True):
        pool.publish(page, key)
    pool.release(pages)
    taken: list[int] = []
    assert pool.grow(taken, 4)
    assert len(pool.share([b"a", b"b", b"c"])) == 2
    assert not pool.grow(taken, 8)


def test_a_key_is_published_once_and_a_page_has_one_key() -> None:
    pool = PagePool(2, PAGE)
    one: list[int] = []
    two: list[int] = []
    pool.grow(one, 4)
    pool.grow(two, 4)
    pool.publish(one[0], b"a")
    pool.publish(two[0], b"a")
    pool.publish(one[0], b"b")
    assert pool.share([b"a"]) == one
    assert pool.share([b"b"]) == []


def test_no_page_is_lost_or_written_by_two_over_a_random_life() -> None:
    """Sharing, publishing, releasing and growing at random: holders are counted, and free pages are nobody's."""
    random.seed(1)
    pool = PagePool(24, PAGE)
    held: list[tuple[list[int], list[int]]] = []
    for _ in range(3000):
        if held and random.random() < 0.4:
            pages, _ = held.pop(random.randrange(len(held)))
            pool.release(pages)
            continue
        tokens = [random.randrange(2) for _ in range(random.randint(1, 20))]
        chain = keys(tokens)
        pages = pool.share(chain[: (len(tokens) - 1) // PAGE])
        fresh = len(pages)
        if not pool.grow(pages, len(tokens)):
            pool.release(pages)
            continue
        others = {page for theirs, _ in held for page in theirs}
        assert not others & set(pages[fresh:])
        for page, key in zip(pages, chain, strict=False):
            pool.publish(page, key)
        held.append((pages, tokens))
        assert len({page for theirs, _ in held for page in theirs}) + pool.free_count == 24


@pytest.fixture
def prompt() -> list[int]:
    source = random.Random(2)
    return [source.randrange(6, 300) for _ in range(70)]


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 5}], ids=["greedy", "sampled"])
async def test_a_shared_beginning_changes_nothing_but_what_is_computed(
    real: BenchMaker, prompt: list[int], options: dict[str, float]
) -> None:
    bench = real()
    first = await bench.run(prompt, max_new_tokens=20, **options)
    again = await bench.run(prompt, max_new_tokens=20, **options)
    longer = await bench.run([*prompt, 7, 8, 9], max_new_tokens=20, **options)
    unshared = await real().run([*prompt, 7, 8, 9], max_new_tokens=20, **options)
    assert again.ids == first.ids
    assert longer.ids == unshared.ids
    assert first.completed.cached_token_count == 0
    assert again.completed.cached_token_count == 64
    assert longer.completed.cached_token_count == 64
    assert bench.metric("prefix_cache_hit_tokens_total") == 128
    await eventually(lambda: bench.idle)


async def test_salts_keep_tenants_apart(real: BenchMaker, prompt: list[int]) -> None:
    bench = real()
    counts = [
        (await bench.run(prompt, max_new_tokens=2, cache_salt=salt)).completed.cached_token_count
        for salt in ("a", "b", "a", "")
    ]
    assert counts == [0, 0, 64, 0]


async def test_generated_text_is_shared_with_the_next_turn(real: BenchMaker, prompt: list[int]) -> None:
    bench = real()
    turn = await bench.run(prompt, max_new_tokens=30, end_token_ids=frozenset())
    result = await bench.run([*prompt, *turn.ids, 11, 12], max_new_tokens=2)
    assert result.completed.cached_token_count == 96
