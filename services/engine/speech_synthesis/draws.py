"""Random numbers of one sentence, whoever else speaks meanwhile."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

_STRIDE = 0x9E3779B97F4A7C15
"""An odd number far from every small one, by which the keys of one request's sentences differ."""


def key_of(seed: int, sentence: int) -> int:
    """Returns the key of a sentence's draws, by its place in the text: the seed itself for the first."""
    return (seed + sentence * _STRIDE) % 2**63


class Draws:
    """torch's generators as one sentence finds them: models draw from nothing else.

    Belongs to the thread of the model, the only one that draws.
    """

    def __init__(self, key: int, device: torch.device) -> None:
        self._device = device
        with torch.random.fork_rng(self._devices):
            torch.manual_seed(key)
            self._keep()

    @contextmanager
    def in_force(self) -> Generator[None]:
        """What is drawn within follows what was drawn within before."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._state)
            if self._device.type == "cuda":
                torch.cuda.set_rng_state(self._device_state, self._device)
            yield
            self._keep()

    @property
    def _devices(self) -> list[torch.device]:
        return [self._device] if self._device.type == "cuda" else []

    def _keep(self) -> None:
        self._state = torch.get_rng_state()
        if self._device.type == "cuda":
            self._device_state = torch.cuda.get_rng_state(self._device)
