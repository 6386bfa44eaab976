"""Chooses one token per row from its logits; greedy and sampling rows may be mixed in a batch."""

import math
from enum import Enum

import torch
from torch import Tensor

from services.engine.generation.requests.request import GenerationRequest
from services.engine.generation.sampling.constraints import (
    AllowedTokens,
    BadWords,
    LogitBias,
    NoRepeatedRuns,
    WithheldEndings,
)
from services.engine.generation.sampling.draws import uniform
from services.engine.generation.sampling.inversion import invert
from services.engine.generation.sampling.penalties import OutputPenalties, RepetitionPenalty
from services.engine.generation.sampling.rules import forcing_processors, source_processors
from services.engine.generation.sampling.structure_mask import Bits, Processor, StructureMask, forbid
from services.engine.generation.sampling.truncation import truncate
from services.engine.generation.sequence import Sequence

_SMALLEST = torch.finfo(torch.float32).tiny


class NoToken(Enum):
    """Why a row has no token."""

    NOT_NUMBERS = "not numbers"
    """The model computed NaN or infinity."""
    ALL_FORBIDDEN = "all forbidden"
    """The request's parameters forbid every token."""


def sample(logits: Tensor, sequences: list[Sequence]) -> list[int | NoToken]:
    """Returns one token id per row, or why there is none.

    Args:
        logits: float32 `[rows, vocabulary]`; changed in place.
        sequences: The sequence of each row; its parameters, output count and tokens are read.

    The operations and their order are those of transformers' `generate`, so that the distribution is the same.
    """
    numbers = process(logits, sequences)
    tokens, usable = likeliest(logits)
    sampled = [i for i, sequence in enumerate(sequences) if usable[i] and not sequence.request.sampling.greedy]
    if sampled:
        drawn = draw(logits[sampled], [sequences[i] for i in sampled])
        for i, token in zip(sampled, drawn, strict=True):
            tokens[i] = token
    return [
        NoToken.NOT_NUMBERS if not numbers.get(i, fine) else token if fine else NoToken.ALL_FORBIDDEN
        for i, (token, fine) in enumerate(zip(tokens, usable, strict=True))
    ]


def likeliest(logits: Tensor) -> tuple[list[int], list[bool]]:
    """Returns the likeliest token of each row `[rows, vocabulary]`, and whether its logit is finite."""
    if logits.device.type == "cpu":  # where NumPy takes a tenth of the time
        array = logits.numpy()
        tokens: list[int] = array.argmax(axis=-1).tolist()
        return tokens, [math.isfinite(array[place]) for place in enumerate(tokens)]
    best = logits.max(dim=-1)
    found: list[int] = torch.where(torch.isfinite(best.values), best.indices, -1).tolist()  # one transfer for both
    return [max(token, 0) for token in found], [token >= 0 for token in found]


def process(logits: Tensor, sequences: list[Sequence]) -> dict[int, bool]:
    """Applies penalties and constraints to the rows that ask for some, in place.

    Returns those rows, and whether the model had computed usable logits for each.
    """
    for i, sequence in enumerate(sequences):
        if sequence.processors is None:
            sequence.processors = row_processors(sequence.request, logits[i])
    rows = [i for i, sequence in enumerate(sequences) if sequence.processors]
    if not rows:
        return {}
    # Of all rows, since choosing some would copy them.
    usable: list[bool] = torch.isfinite(logits.amax(dim=-1)).tolist()
    masks: dict[int, Bits] = {}
    for i in rows:
        for processor in sequences[i].processors or ():
            if isinstance(processor, StructureMask):
                masks[i] = processor.bits(sequences[i].output, sequences[i].token_ids, logits.shape[1])
            else:
                processor(logits[i], sequences[i].token_ids)
    if masks:  # one transfer and one look-up for all, since it does not matter when a token is forbidden
        forbid(logits, masks)
    return {i: usable[i] for i in rows}


def row_processors(request: GenerationRequest, row: Tensor) -> tuple[Processor, ...]:
    """Returns the logits processors of a request, in order; empty for a plain request.

    The order is that of `generate`. It has no penalties on the output alone, no list of allowed tokens and no
    structure: the first follow the repetition penalty, and the others are prohibitions, whose order does not matter.
    """
    sampling, stopping, prompt_count = request.sampling, request.stopping, len(request.prompt_token_ids)
    made: list[Processor] = []
    if sampling.logit_bias:
        made.append(LogitBias(sampling.logit_bias, row))
    made += source_processors(request, row)
    if sampling.repetition_penalty != 1.0:
        made.append(RepetitionPenalty(sampling.repetition_penalty, row))
    if sampling.presence_penalty or sampling.frequency_penalty:
        made.append(OutputPenalties(sampling.presence_penalty, sampling.frequency_penalty, prompt_count, row))
    if sampling.no_repeat_ngram_size:
        made.append(NoRepeatedRuns(sampling.no_repeat_ngram_size))
    if sampling.bad_words:
        made.append(BadWords(sampling.bad_words, stopping.end_token_ids, row))
    if stopping.min_new_tokens and stopping.ending_ids:
        made.append(WithheldEndings(stopping.ending_ids, prompt_count + stopping.min_new_tokens, row))
    if sampling.allowed_token_ids:
        made.append(AllowedTokens({*sampling.allowed_token_ids, *stopping.end_token_ids}, row))
    made += forcing_processors(request, row)
    if request.structure:
        made.append(StructureMask(request.structure, stopping, prompt_count + request.forced_count))
    return tuple(made)


def draw(logits: Tensor, sequences: list[Sequence]) -> list[int]:
    """Draws a token for each row, none of them greedy, by inverting the cumulative distribution at a keyed draw."""
    parameters = [sequence.request.sampling for sequence in sequences]
    temperature = torch.tensor([p.temperature for p in parameters], device=logits.device)
    weights = truncate(scaled(logits, temperature), parameters).exp()
    draws = uniform(
        [p.seed for p in parameters],
        [sequence.output_count for sequence in sequences],
        [sequence.candidate for sequence in sequences],
    )
    return invert(weights, torch.from_numpy(draws).to(weights.device)).tolist()


def scaled(logits: Tensor, temperature: Tensor) -> Tensor:
    """Returns logits `[rows, vocabulary]` divided by their temperatures `[rows]`, float32."""
    # The highest logit becomes 0, so that the smallest temperatures overflow to minus infinity, which is right, and
    # never to infinity, which would leave no distribution.
    return (logits - logits.amax(dim=-1, keepdim=True).float()).div_(temperature.clamp(min=_SMALLEST).unsqueeze(1))
