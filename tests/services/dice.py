"""Random numbers for tests, from a new seed in every run."""

import random


def dice() -> random.Random:
    """Returns a freshly seeded generator; prints the seed, so that the report of a failing test shows it."""
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    return random.Random(seed)
