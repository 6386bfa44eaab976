"""What a model's own `generate` makes of a few prompts, and how far an engine's logits are from it."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from services.engine.acceleration.tolerance import must_be_numbers
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.media import PromptMedia
from services.engine.generation.running.runner import Runner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import LoadedModel

_NEW_TOKENS = 8


@dataclass(frozen=True)
class Reference:
    """What `generate` made of one prompt."""

    source_ids: tuple[int, ...]
    prompt: list[int]
    tokens: list[int]
    logits: Tensor
    """As computed by the model behind the prompt and behind each token but the last, `[tokens, vocabulary]`."""
    media: PromptMedia | None = None
    """What stood in the prompt."""


@torch.inference_mode()
def generated(loaded: LoadedModel, length: int) -> Reference:
    """Returns what `generate` makes of `length` random tokens.

    Raises:
        ModelRefused: it fails, or computes what is no number.
    """
    generator = torch.Generator().manual_seed(length)
    given = torch.randint(loaded.source_vocabulary_size, (1, length), generator=generator).to(loaded.device)
    starts = {"decoder_input_ids": torch.tensor([loaded.decoder_start_ids], device=loaded.device)}
    inputs = {"input_ids": given, "attention_mask": torch.ones_like(given)}
    source = tuple(given[0].tolist()) if loaded.decoder_start_ids else ()
    return continued(loaded, inputs | (starts if loaded.decoder_start_ids else {}), source)


@torch.inference_mode()
def continued(
    loaded: LoadedModel, inputs: dict[str, Tensor], source: tuple[int, ...] = (), media: PromptMedia | None = None
) -> Reference:
    """Returns what `generate` makes of its `inputs`, in which an encoder reads `source` or `media` stand.

    Raises:
        ModelRefused: it fails, or computes what is no number.
    """
    config = GenerationConfig(
        do_sample=False, num_beams=1, use_cache=True, max_new_tokens=_NEW_TOKENS, min_new_tokens=_NEW_TOKENS,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    model: Any = loaded.model
    try:
        made = model.generate(**inputs, generation_config=config)
    except MODEL_ERRORS as error:
        raise ModelRefused(f"{loaded.architecture} is not run by transformers' own generate: {error}") from error
    ids, logits = made.sequences[0].tolist(), torch.stack(made.logits)[:, 0].float()
    must_be_numbers(loaded.model, [logits])
    prompt = ids[: len(ids) - len(logits)]
    return Reference(source, prompt, ids[len(prompt) :], logits, media)


class Trial:
    """One sequence that is to continue as `generate` did."""

    def __init__(self, reference: Reference, begun: int) -> None:
        """The first `begun` tokens that were generated are given with the prompt."""
        self.sequence = CachedTokens(
            [*reference.prompt, *reference.tokens[:begun]],
            prompt_count=len(reference.prompt),
            source_ids=reference.source_ids,
            media=reference.media,
        )
        self.wanted = reference.logits[begun:]
        self.found: list[Tensor] = []
        self._rest = reference.tokens[begun:]

    def row(self, chunk: int | None) -> Row[CachedTokens]:
        """Returns what to compute next, at most `chunk` tokens."""
        return Row(self.sequence, min(chunk or self.sequence.remaining, self.sequence.remaining))

    def take(self, row: Row[CachedTokens], logits: Iterator[Tensor]) -> None:
        """Notes that a row was computed, and takes its logits if it completes the sequence."""
        completes = row.completes
        self.sequence.computed += row.token_count
        if completes:
            self.found.append(next(logits))
            self.sequence.token_ids.append(self._rest[len(self.found) - 1])

    @property
    def done(self) -> bool:
        """Whether all logits are there."""
        return len(self.found) == len(self.wanted)


def relative_error(
    runner: Runner,
    references: list[Reference],
    *,
    chunk: int | None = None,
    pool: PagePool | None = None,
    begun: tuple[int, ...] = (0, _NEW_TOKENS // 2),
) -> float:
    """Returns the error of a runner's logits, of sequences beside each other, each of them `begun` so many tokens on.

    Prompts are computed `chunk` tokens at a time, or whole; pages are taken from `pool` if there is one.
    """
    trials = [Trial(reference, count) for count in begun for reference in references]
    sequences = [trial.sequence for trial in trials]
    with _pages(sequences, pool):
        while active := [trial for trial in trials if not trial.done]:
            rows = [trial.row(chunk) for trial in active]
            logits = iter(runner.run(rows))
            for trial, row in zip(active, rows, strict=True):
                trial.take(row, logits)
    ours = torch.stack([line for trial in trials for line in trial.found])
    theirs = torch.cat([trial.wanted for trial in trials])
    return float((ours - theirs).norm() / theirs.norm())


@contextmanager
def _pages(sequences: list[CachedTokens], pool: PagePool | None) -> Generator[None]:
    """Gives sequences pages for as long as they are tried."""
    try:
        for sequence in sequences if pool else ():
            assert pool is not None
            enough = pool.grow(sequence.pages, len(sequence.token_ids) + _NEW_TOKENS)
            if not (enough and pool.grow(sequence.source_pages, len(sequence.source_ids))):
                raise ModelRefused("The cache is too small to check the model in; give it more with --cache-mib.")
        yield
    finally:
        for sequence in sequences if pool else ():
            assert pool is not None
            pool.release(sequence.pages)
            pool.release(sequence.source_pages)
