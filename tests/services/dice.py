"""Dice of tests, thrown anew in every run."""

import random


def dice() -> random.Random:
    """Returns fresh dice that a failing test tells."""
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")
    return random.Random(seed)
