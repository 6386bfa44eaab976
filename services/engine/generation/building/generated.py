"""Reference outputs of a model's own `generate`, and how far an engine's logits are from them."""

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
    """The output of `generate` for one prompt."""

    source_ids: tuple[int, ...]
    prompt: list[int]
    tokens: list[int]
    logits: Tensor
    """The logits that each generated token was chosen from, `[tokens, vocabulary]`."""
    media: PromptMedia | None = None
    """The media in the prompt."""


@torch.inference_mode()
def generated(loaded: LoadedModel, length: int) -> Reference:
    """Returns the output of `generate` for a prompt of `length` random tokens.

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
    """Returns the output of `generate` for its `inputs`; they hold the encoder's input `source`, or `media`.

    Raises:
        ModelRefused: it fails, or computes what is no number.
    """
    config = GenerationConfig(
        do_sample=False, num_beams=1, num_return_sequences=1, use_cache=True,
        max_new_tokens=_NEW_TOKENS, min_new_tokens=_NEW_TOKENS, output_logits=True, return_dict_in_generate=True,
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
    """A sequence of which the engine must compute the reference's logits."""

    def __init__(self, reference: Reference, begun: int) -> None:
        """The first `begun` generated tokens are part of the prompt."""
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
        """Returns the next row, of at most `chunk` tokens."""
        return Row(self.sequence, min(chunk or self.sequence.remaining, self.sequence.remaining))

    def take(self, row: Row[CachedTokens], logits: Iterator[Tensor]) -> None:
        """Notes that a row was computed, and keeps its logits if it completes the tokens so far."""
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
    """Returns the relative error of a runner's logits for all references, which share its steps.

    `begun` holds for each sequence how many generated tokens are part of its prompt. Prompts are computed in chunks of
    `chunk` tokens, or whole; pages are taken from `pool` if there is one.
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
    """Gives the sequences pages within this context."""
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
