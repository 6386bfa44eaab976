import random

import pytest

from services.engine.generation.cache import page_keys
from services.engine.generation.cache.page_keys import PageKeys
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.recorded.launched_step import LaunchedStep
from tests.services.bench import Bench, BenchMaker, eventually, fake_bench
from tests.services.fake_runner import FakeRunner

PAGE = 4


def keys(tokens: list[int], salt: str = "") -> list[bytes]:
    return PageKeys(tokens, PAGE, salt).first(len(tokens) // PAGE)


def test_a_key_stands_for_all_tokens_up_to_its_pages_end() -> None:
    one, other = keys([1, 2, 3, 4, 5, 6, 7, 8]), keys([9, 2, 3, 4, 5, 6, 7, 8])
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert keys([1, 2, 3, 4, 5, 6, 7, 9])[0] == one[0]
    assert not set(keys([1, 2, 3, 4], salt="tenant")) & set(one)


class Digests:
    """Counts the keys that are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._made = page_keys.blake2b
        self.count = 0
        monkeypatch.setattr(page_keys, "blake2b", self.make)

    def make(self, *content: bytes, **options: bytes) -> object:
        self.count += 1
        return self._made(*content, **options)  # type: ignore[arg-type]


def test_keys_are_made_as_far_as_pages_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [*range(40)]
    whole, digests, pool = keys(tokens), Digests(monkeypatch), PagePool(8, PAGE)
    held: list[int] = []
    pool.grow(held, 8)
    for page, key in zip(held, whole, strict=False):
        pool.publish(page, key)
    made = PageKeys(tokens, PAGE, "")
    root = digests.count
    assert pool.published(made.before_last()) == 2
    assert digests.count - root == 3
    assert pool.share(made.before_last()) == held
    assert digests.count - root == 3
    assert made.first(10) == whole
    assert [*made.before_last()] == whole[:9]
    assert digests.count - root == 10


async def test_a_prompts_keys_are_made_while_its_step_runs(
    monkeypatch: pytest.MonkeyPatch, benches: list[Bench]
) -> None:
    digests, tokens, seen = Digests(monkeypatch), LaunchedStep.tokens, list[int]()

    def waited(step: LaunchedStep) -> list[int]:
        seen.append(digests.count)
        return tokens(step)

    monkeypatch.setattr(LaunchedStep, "tokens", waited)
    benches.append(fake_bench(FakeRunner(), ahead=True))
    await benches[0].run([7] * 40, max_new_tokens=3)
    assert seen[0] == digests.count == 1 + 2  # the root, and a key for each full page
    assert len(seen) >= 3


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
