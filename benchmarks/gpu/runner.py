"""Runs the engine's runner alone, without scheduling and sampling."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from services.engine.generation.building.parts import Parts
from services.engine.generation.sequence import CachedTokens, Row

_READS = 5
"""Times that prompts are read which fit one chunk."""


@dataclass(frozen=True)
class Rates:
    """Times of one batch."""

    prompt_seconds: float
    """Until all rows have their first token. The median of several times, if the prompts are short."""
    step_seconds: float
    """Mean time of a decode step of all rows."""


def prompts(rows: int, length: int, vocabulary: int) -> list[list[int]]:
    """Returns random prompts, the same in each call."""
    generator = torch.Generator().manual_seed(rows)
    return torch.randint(vocabulary, (rows, length), generator=generator).tolist()


def run_engine(
    parts: Parts,
    prompts: list[list[int]],
    steps: int,
    chunk: int,
    adapters: Sequence[str] = (),
) -> Rates:
    """Reads prompts in chunks of `chunk` tokens and decodes greedily. The tokens of each step are copied to the CPU.

    `adapters` are the adapter names of the rows, if any.
    """
    names = adapters or [""] * len(prompts)
    sequences = [CachedTokens(list(prompt), adapter=name) for prompt, name in zip(prompts, names, strict=True)]
    for sequence in sequences:
        assert parts.pool.grow(sequence.pages, len(sequence.token_ids) + steps + 1)
    try:
        times: list[float] = []
        for _ in range(_READS if sum(map(len, prompts)) <= chunk else 1):
            for sequence, prompt in zip(sequences, prompts, strict=True):
                sequence.token_ids, sequence.computed = list(prompt), 0
            began = now()
            read(parts, sequences, chunk)
            times.append(now() - began)
        began = now()
        for _ in range(steps):
            _advance(parts, [Row(sequence, 1) for sequence in sequences])
        return Rates(median(times), (now() - began) / steps)
    finally:
        for sequence in sequences:
            parts.pool.release(sequence.pages)


def read(parts: Parts, sequences: Sequence[CachedTokens], chunk: int) -> None:
    """Reads all known tokens of the sequences in chunks of `chunk` tokens, and computes one more token for each."""
    left = list(sequences)
    while left:
        rows: list[Row[CachedTokens]] = []
        room = chunk
        for sequence in left:
            if room:
                rows.append(Row(sequence, min(sequence.remaining, room)))
                room -= rows[-1].token_count
        done = [row.sequence for row in rows if row.completes]
        _advance(parts, rows)
        left = [sequence for sequence in left if sequence not in done]


def _advance(parts: Parts, rows: list[Row[CachedTokens]]) -> None:
    logits = parts.runner.run(rows)
    tokens = iter(logits.argmax(dim=-1).tolist())
    for row in rows:
        completes = row.completes
        row.sequence.computed += row.token_count
        if completes:
            row.sequence.token_ids.append(next(tokens))


def now() -> float:
    """Waits for the GPU, and returns the time in seconds."""
    torch.cuda.synchronize()
    return time.perf_counter()
