"""Compares sequences that take turns with the model's own `generate`, once, at load."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from services.engine.generation.module_memory import ModuleMemory
from services.engine.generation.rotary import frequencies_depend_on_length
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.generation.serial_runner import Continuation, SerialRunner
from services.engine.generation.verification import CHUNK, TOLERANCE
from services.engine.loading import LoadedModel, ModelRefused

_LENGTHS = (24, 10)
_NEW_TOKENS = 8


@dataclass(frozen=True)
class Reference:
    """What `generate` made of one prompt."""

    source_ids: tuple[int, ...]
    prompt: list[int]
    tokens: list[int]
    logits: Tensor
    """As computed by the model behind the prompt and behind each token but the last, `[tokens, vocabulary]`."""


def remember(loaded: LoadedModel) -> ModuleMemory:
    """Returns what the modules of a model remember, having run it once.

    Raises:
        ModelRefused: its own `generate` fails.
    """
    return ModuleMemory(loaded.model, lambda: generated(loaded, 2))


def verify_serial(loaded: LoadedModel, memory: ModuleMemory) -> Continuation:
    """Returns the widest continuation with which the model computes what its own `generate` computes.

    Raises:
        ModelRefused: there is none.
    """
    references: list[Reference] = []
    for length in _LENGTHS:
        memory.recall(memory.fresh)
        references.append(generated(loaded, min(length, loaded.context_tokens // 2), seed=length))
    only_steps = frequencies_depend_on_length(loaded.model.config)
    errors: list[float] = []
    for continuation in [Continuation.STEPS] if only_steps else Continuation:
        runner = SerialRunner(loaded.model, continuation, memory)
        try:
            errors.append(_error(runner, references, CHUNK if continuation is Continuation.CHUNKS else None))
        except (TypeError, ValueError, IndexError, RuntimeError):
            errors.append(float("inf"))
        if errors[-1] <= TOLERANCE.get(loaded.model.dtype, 0.05):
            return continuation
    raise ModelRefused(
        f"{loaded.architecture} computes other logits when sequences take turns than in its own generate (relative "
        f"error {min(errors):.2g}), so it cannot be served exactly."
    )


@torch.inference_mode()
def generated(loaded: LoadedModel, length: int, *, seed: int = 0) -> Reference:
    """Returns what `generate` makes of `length` random tokens."""
    generator = torch.Generator().manual_seed(seed)
    given = torch.randint(loaded.source_vocabulary_size, (1, length), generator=generator).to(loaded.device)
    config = GenerationConfig(
        do_sample=False, num_beams=1, use_cache=True, max_new_tokens=_NEW_TOKENS, min_new_tokens=_NEW_TOKENS,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    starts = {"decoder_input_ids": torch.tensor([loaded.decoder_start_ids], device=loaded.device)}
    model: Any = loaded.model
    try:
        made = model.generate(
            given, attention_mask=torch.ones_like(given), generation_config=config,
            **(starts if loaded.decoder_start_ids else {}),
        )  # fmt: skip
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise ModelRefused(f"{loaded.architecture} is not run by transformers' own generate: {error}") from error
    ids, logits = made.sequences[0].tolist(), torch.stack(made.logits)[:, 0].float()
    prompt = ids[: len(ids) - len(logits)]
    source = tuple(given[0].tolist()) if loaded.decoder_start_ids else ()
    return Reference(source, prompt, ids[len(prompt) :], logits)


def _error(runner: SerialRunner, references: list[Reference], chunk: int | None) -> float:
    """Returns the relative error of all logits, of sequences that begin at their prompts or half way, in turns."""
    starts = [(reference, begun) for begun in (0, _NEW_TOKENS // 2) for reference in references]
    sequences = [_sequence(reference, begun) for reference, begun in starts]
    found: list[list[Tensor]] = [[] for _ in starts]
    wanted = [reference.logits[begun:] for reference, begun in starts]
    while any(len(ours) < len(theirs) for ours, theirs in zip(found, wanted, strict=True)):
        for sequence, (reference, _), ours, theirs in zip(sequences, starts, found, wanted, strict=True):
            if len(ours) == len(theirs):
                continue
            row = Row(sequence, min(chunk or sequence.remaining, sequence.remaining))
            completes = row.completes
            ours += list(runner.run([row]))
            sequence.computed += row.token_count
            if completes:
                sequence.token_ids.append(reference.tokens[len(sequence.token_ids) - sequence.prompt_count])
    ours, theirs = torch.stack([line for lines in found for line in lines]), torch.cat(wanted)
    return float((ours - theirs).norm() / theirs.norm())


def _sequence(reference: Reference, begun: int) -> CachedTokens:
    return CachedTokens(
        [*reference.prompt, *reference.tokens[:begun]],
        prompt_count=len(reference.prompt),
        source_ids=reference.source_ids,
    )
