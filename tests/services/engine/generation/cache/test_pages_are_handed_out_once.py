import random

from services.engine.generation.cache.page_pool import PagePool


def test_pages_grow_with_the_tokens() -> None:
    pool = PagePool(4, 16)
    pages: list[int] = []
    assert pool.grow(pages, 1)
    assert len(pages) == 1
    assert pool.grow(pages, 16)
    assert len(pages) == 1
    assert pool.grow(pages, 17)
    assert len(pages) == 2
    assert pool.grow(pages, 3)
    assert len(pages) == 2
    assert pool.free_count == 2


def test_too_few_free_pages_take_nothing() -> None:
    pool = PagePool(3, 16)
    first: list[int] = []
    second: list[int] = []
    assert pool.grow(first, 20)
    assert not pool.grow(second, 17)
    assert second == []
    assert pool.free_count == 1
    assert pool.grow(second, 16)


def test_released_pages_can_be_taken_again_and_releasing_twice_is_harmless() -> None:
    pool = PagePool(2, 16)
    pages: list[int] = []
    assert pool.grow(pages, 32)
    pool.release(pages)
    pool.release(pages)
    assert pages == []
    assert pool.free_count == 2
    assert pool.grow(pages, 32)
    assert sorted(pages) == [0, 1]


def test_no_page_is_held_twice_over_a_random_life() -> None:
    random.seed(0)
    pool = PagePool(20, 4)
    held: list[list[int]] = [[] for _ in range(8)]
    for _ in range(2000):
        pages = random.choice(held)
        if random.random() < 0.3:
            pool.release(pages)
        else:
            pool.grow(pages, random.randint(0, 30))
        taken = [page for pages in held for page in pages]
        assert len(set(taken)) == len(taken)
        assert set(taken) <= set(range(20))
        assert len(taken) + pool.free_count == 20


def test_a_page_held_twice_is_free_when_both_have_let_it_go() -> None:
    pool = PagePool(3, 4)
    first: list[int] = []
    pool.grow(first, 8)
    second = pool.hold(first[:1])
    assert second == first[:1]
    pool.release(first)
    assert pool.free_count == 2
    pool.release(second)
    assert pool.free_count == 3


def test_what_is_published_is_counted_up_to_the_first_that_is_not() -> None:
    pool = PagePool(4, 2)
    pages: list[int] = []
    assert pool.grow(pages, 6)
    for page, key in zip(pages, (b"a", b"b", b"d"), strict=True):
        pool.publish(page, key)
    assert pool.published([b"a", b"b", b"c", b"d"]) == 2
    assert pool.published([b"x"]) == 0
    pool.release(pages)
    assert pool.free_count == 4
