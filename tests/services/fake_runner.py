"""A fake model runner: the next token is a hash of the tokens before it, and steps fail or wait on demand."""

import threading
from collections.abc import Callable, Collection

import torch
from torch import Tensor

from services.engine.generation.sequence import CachedTokens, Row

VOCABULARY = 320
FIRST_TEXT = 6  # ids below are special tokens


def continuation(prompt: list[int], count: int) -> list[int]:
    """Returns the tokens with which greedy decoding continues `prompt` on the fake runner."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(_next(ids))
    return ids[len(prompt) :]


def _next(ids: list[int]) -> int:
    return FIRST_TEXT + (ids[-1] * 31 + len(ids) * 7 + ids[0]) % (VOCABULARY - FIRST_TEXT)


def _logits(ids: list[int]) -> Tensor:
    logits = torch.zeros(VOCABULARY)
    logits[_next(ids)] = 9.0
    return logits


class FakeRunner:
    """Takes the place of ModelRunner."""

    def __init__(self) -> None:
        self.steps = 0
        self.forward_seconds = 0.0
        self.seen: list[list[tuple[int, ...]]] = []
        """The tokens of every row of every step."""
        self.on_row: Callable[[CachedTokens], None] = lambda sequence: None
        """Called for each row; may raise to make the row fail."""
        self.on_logits: Callable[[CachedTokens, Tensor], None] = lambda sequence, logits: None
        """Called for each row; may change its logits in place."""
        self.forks: list[tuple[CachedTokens, CachedTokens]] = []
        self._permits = threading.Semaphore(0)
        self._waits = False

    def hold(self) -> None:
        """Makes every step wait for `permit`."""
        self._waits = True

    def permit(self, steps: int = 1) -> None:
        self._permits.release(steps)

    def free(self) -> None:
        """Lets all steps through."""
        self._waits = False
        self._permits.release(1000)

    def run(self, rows: Collection[Row[CachedTokens]]) -> Tensor:
        self.seen.append([tuple(row.sequence.token_ids) for row in rows])
        if self._waits:
            self._permits.acquire()
        self.steps += 1
        for row in rows:
            self.on_row(row.sequence)
        lines: list[Tensor] = []
        for row in rows:
            computed = row.sequence.computed
            ids = row.sequence.token_ids[:computed] + row.token_ids
            lines += [_logits(ids[: computed + i + 1]) for i in range(row.scored)]
            if row.completes:
                lines.append(_logits(ids))
                self.on_logits(row.sequence, lines[-1])
        return torch.stack(lines) if lines else torch.zeros(0, VOCABULARY)

    def fork(self, pairs: Collection[tuple[CachedTokens, CachedTokens]]) -> None:
        self.forks += pairs
