"""Random draws keyed by (seed, position): the same on every machine, in every batch, after every preemption.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): a counter is
encrypted under a key, so any draw is computed without those before it, by integer arithmetic that a GPU kernel repeats
exactly. NumPy's own Philox is the 64-bit variant and one generator object per draw costs tens of microseconds.
"""

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

Words = NDArray[np.uint64]


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]) -> tuple[Words, Words, Words, Words]:
    """Encrypts 128-bit counters under 64-bit keys; each word is a 32-bit value held in a uint64, elementwise."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


def uniform(seeds: list[int], positions: list[int], candidates: list[int] | None = None) -> NDArray[np.float64]:
    """Returns one draw in [0, 1) with 53 random bits per (seed, position, candidate).

    `seeds` are non-negative and below 2**64; `positions` count generated tokens from 0; `candidates` default to 0.
    """
    return uniform_ahead(seeds, positions, candidates or [0] * len(seeds), 1)[0]


def uniform_ahead(seeds: list[int], positions: list[int], candidates: list[int], count: int) -> NDArray[np.float64]:
    """Returns `[count, n]`: the draws of these positions, of those behind them, and so on."""
    seed, candidate = np.array(seeds, dtype=np.uint64), np.array(candidates, dtype=np.uint64)
    position = np.array(positions, dtype=np.uint64) + np.arange(count, dtype=np.uint64)[:, np.newaxis]
    seed, candidate = np.broadcast_to(seed, position.shape), np.broadcast_to(candidate, position.shape)
    counter = (position & _LOW, position >> _SHIFT, candidate, np.zeros_like(candidate))
    high, low, _, _ = philox(counter, (seed & _LOW, seed >> _SHIFT))
    bits = ((high << _SHIFT) | low) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53
