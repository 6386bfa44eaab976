"""The engine's runner and transformers' `generate`, on the same model and prompts."""

import time
from dataclasses import dataclass

import torch

from services.engine.generation.parts import Parts
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel


@dataclass(frozen=True)
class Rates:
    """Of one batch."""

    prompt_seconds: float
    """Until the first token of all."""
    step_seconds: float
    """From one token of all to the next."""


def prompts(rows: int, length: int, vocabulary: int) -> list[list[int]]:
    """Returns random prompts, the same at each call."""
    generator = torch.Generator().manual_seed(rows)
    return torch.randint(vocabulary, (rows, length), generator=generator).tolist()


def run_engine(parts: Parts, prompts: list[list[int]], steps: int, chunk: int) -> Rates:
    """Reads the prompts in chunks of `chunk` tokens and decodes greedily; each step's tokens are taken to the CPU."""
    sequences = [CachedTokens(list(prompt)) for prompt in prompts]
    for sequence in sequences:
        assert parts.pool.grow(sequence.pages, len(sequence.token_ids) + steps + 1)
    try:
        began = _now()
        _read(parts, sequences, chunk)
        read = _now()
        for _ in range(steps):
            _advance(parts, [Row(sequence, 1) for sequence in sequences])
        return Rates(read - began, (_now() - read) / steps)
    finally:
        for sequence in sequences:
            parts.pool.release(sequence.pages)


def _read(parts: Parts, sequences: list[CachedTokens], chunk: int) -> None:
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


@torch.inference_mode()
def run_generate(loaded: LoadedModel, prompts: list[list[int]], steps: int) -> Rates:
    """Has transformers generate on one batch, with the fused attention of torch.

    Raises:
        torch.OutOfMemoryError: its cache does not fit beside the engine's.
    """
    loaded.model.set_attn_implementation("sdpa")
    ids = torch.tensor(prompts, device=loaded.device)
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False}
    times: list[float] = []
    for count in (1, steps + 1):
        began = _now()
        loaded.model.generate(ids, max_new_tokens=count, min_new_tokens=count, **options)
        times.append(_now() - began)
    return Rates(times[0], (times[1] - times[0]) / steps)


def _now() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
