import numpy as np
import pytest

from services.engine.generation.sampling.draws import philox, uniform


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_answers(counter: str, key: str, expected: str) -> None:
    def words(text: str) -> list[np.ndarray]:
        return [np.array([int(word, 16)], dtype=np.uint64) for word in text.split()]

    got = philox(tuple(words(counter)), tuple(words(key)))
    assert " ".join(f"{int(word[0]):08x}" for word in got) == expected


def test_draws_lie_in_the_unit_interval_and_are_evenly_spread() -> None:
    draws = uniform([42] * 65536, list(range(65536)))
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=64, range=(0, 1))[0]
    chi_square = float(((counts - 1024) ** 2 / 1024).sum())
    assert 25 < chi_square < 114  # 63 degrees of freedom, both tails at about one in 10,000


def test_draws_use_53_bits() -> None:
    scaled = uniform([7] * 1000, list(range(1000))) * 2.0**53
    assert np.array_equal(scaled, np.floor(scaled))
    assert (scaled % 2 == 1).any()


def test_a_draw_does_not_depend_on_those_beside_it() -> None:
    seeds, positions = [3, 2**63 - 1, 0, 3], [0, 5, 2**33, 1]
    together = uniform(seeds, positions)
    alone = [uniform([seed], [position])[0] for seed, position in zip(seeds, positions, strict=True)]
    assert together.tolist() == alone


def test_seed_position_and_candidate_all_count_in_full_width() -> None:
    keys = [(0, 0, 0), (1, 0, 0), (2**32, 0, 0), (0, 1, 0), (0, 2**32, 0), (0, 0, 1)]
    draws = [uniform([seed], [position], [candidate])[0] for seed, position, candidate in keys]
    assert len(set(draws)) == len(keys)


def test_draws_stay_what_they_were() -> None:
    # A resumed request may be continued by a newer release: the mapping from keys to draws must not change.
    draws = uniform([5, 2**62 + 1], [9, 100_000])
    assert [draw.hex() for draw in draws.tolist()] == ["0x1.66533dc29c808p-2", "0x1.79ac121c062e0p-3"]
