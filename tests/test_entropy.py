"""Random bytes are read from the system in large blocks, and no byte is used twice."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from sensorium.entropy import random_bytes, random_seed


def test_the_system_is_asked_once_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, original = list[int](), os.urandom

    def counted(size: int) -> bytes:
        asked.append(size)
        return original(size)

    monkeypatch.setattr(os, "urandom", counted)
    for _ in range(1000):
        random_seed()
    assert 3 <= len(asked) <= 4


def test_no_piece_is_given_twice_whatever_threads_ask() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = [
            piece for pieces in pool.map(lambda _: [random_bytes() for _ in range(2000)], range(4)) for piece in pieces
        ]
    assert len(set(found)) == 8000
    assert all(len(piece) == 16 for piece in found)


def test_seeds_are_spread_over_their_range() -> None:
    seeds = [random_seed() for _ in range(4000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert all(1800 < sum(seed >> bit & 1 for seed in seeds) < 2200 for bit in range(63))


def test_a_forked_process_draws_its_own() -> None:
    random_bytes()  # so that the parent has buffered bytes when it forks
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, random_bytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 16) not in [random_bytes() for _ in range(300)]
    os.close(reading)
    os.close(writing)
