"""Finds the last earlier occurrence of a run of tokens in a sequence."""

import numpy as np

_LEAST_BITS, _MOST_BITS = 10, 17
"""Logarithm of a table's size: 4 to 512 KiB, however long the sequence becomes."""
_FACTOR = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class RunIndex:
    """Finds the latest earlier occurrence of a sequence's last tokens, in time that does not depend on its length.

    It is a hash table of runs of `size` tokens, which holds the latest position of each. Runs of the same hash displace
    each other; as what is found is compared, a collision only loses a proposal.
    """

    def __init__(self, size: int, longest: int) -> None:
        """Indexes runs of `size` tokens of a sequence of at most `longest` tokens."""
        self._size = size
        bits = min(max(longest.bit_length() + 1, _LEAST_BITS), _MOST_BITS)
        self._shift = 64 - bits
        self._ends = np.zeros(1 << bits, dtype=np.int32)
        self._noted = size  # the end of the next run to be noted

    def note(self, token_ids: list[int], most: int) -> int:
        """Adds at most `most` new runs that are followed by a token. Returns how many it added."""
        first, end = self._noted, min(len(token_ids), self._noted + most)
        if end <= first:
            return 0
        if end - first == 1:  # a decode step's
            self._ends[self._place(token_ids[first - self._size : first])] = first
        else:
            runs = np.array(token_ids[first - self._size : end - 1], dtype=np.uint64)
            hashes = np.zeros(end - first, dtype=np.uint64)
            for i in range(self._size):
                hashes = (hashes + runs[i : i + end - first]) * np.uint64(_FACTOR)
            # The newest of several for one place is the last, and the last one stays.
            self._ends[hashes >> np.uint64(self._shift)] = np.arange(first, end, dtype=np.int32)
        self._noted = end
        return end - first

    def find(self, token_ids: list[int]) -> int | None:
        """Returns the position after the latest run that equals the last tokens; None if there is none."""
        if len(token_ids) <= self._size:
            return None
        latest = token_ids[-self._size :]
        end = int(self._ends[self._place(latest)])
        return end if end and token_ids[end - self._size : end] == latest else None

    def _place(self, run: list[int]) -> int:
        found = 0
        for token_id in run:
            found = (found + token_id) * _FACTOR & _WORD
        return found >> self._shift
