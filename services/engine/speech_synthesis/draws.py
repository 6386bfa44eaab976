"""Random state of one sentence, independent of what other requests draw."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

_STRIDE = 0x9E3779B97F4A7C15
"""A large odd step between the seeds of a request's sentences."""


def key_of(seed: int, sentence: int) -> int:
    """Returns the seed of the text's sentence number `sentence`; for the first it is `seed` itself."""
    return (seed + sentence * _STRIDE) % 2**63


class Draws:
    """The state of torch's global generators for one sentence; models draw from no others.

    Belongs to the model's thread, the only one that draws.
    """

    def __init__(self, key: int, device: torch.device) -> None:
        self._device = device
        with torch.random.fork_rng(self._devices):
            torch.manual_seed(key)
            self._keep()

    @contextmanager
    def in_force(self) -> Generator[None]:
        """Installs the state, and saves it on leaving: draws continue from the last time."""
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
