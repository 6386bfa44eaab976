"""Random bytes of the system, fetched for many uses at a time.

Asking the system lets go of the interpreter's lock, which on an event loop beside a model's thread comes back
milliseconds later: that thread keeps it until it computes or until its time is over.
"""

import os
from collections import deque

_BYTES = 16
_TOGETHER = 256

_pieces = deque[bytes]()


def random_bytes() -> bytes:
    """Returns 16 bytes that nobody else was given. May be called by any thread."""
    while True:
        try:
            return _pieces.popleft()
        except IndexError:
            data = os.urandom(_BYTES * _TOGETHER)
            _pieces.extend(data[start : start + _BYTES] for start in range(0, len(data), _BYTES))


def random_seed() -> int:
    """Returns a number in [0, 2**63)."""
    return int.from_bytes(random_bytes()) >> (8 * _BYTES - 63)


os.register_at_fork(after_in_child=_pieces.clear)  # else the child would be given the same ones
