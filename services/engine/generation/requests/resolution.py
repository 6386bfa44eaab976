"""Resolves the parameters of a request: the caller's, else the model's defaults, else ours.

`validation` says what is wrong with either.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from sensorium.entropy import random_seed
from services.engine.generation.requests.request import (
    BeamParameters,
    EarlyStopping,
    OutputRules,
    PromptLookup,
    SamplingParameters,
    StoppingCriteria,
)
from services.engine.generation.running.media import PromptMedia
from services.engine.structure.format import StructureFormat

T = TypeVar("T")


@dataclass(frozen=True)
class BeamOptions:
    """The caller's parameters of a beam search."""

    count: int
    length_penalty: float | None = None
    early_stopping: EarlyStopping | None = None


@dataclass(frozen=True)
class GenerationOptions:
    """The caller's parameters; None or empty where it left the choice to the model."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    bad_words: tuple[str, ...] = ()
    allowed_token_ids: tuple[int, ...] = ()
    seed: int | None = None
    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    stop_strings: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    include_stop_string: bool = False
    skip_special_tokens: bool = True
    logprob_count: int | None = None
    prompt_logprob_count: int | None = None
    candidate_count: int | None = None
    beams: BeamOptions | None = None
    structured_output: StructureFormat | None = None
    lookup: PromptLookup | None = None
    priority: int = 0


@dataclass(frozen=True)
class ModelDefaults:
    """The defaults of the model's generation configuration; None where it sets none."""

    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    bad_words: tuple[tuple[int, ...], ...] = ()
    """Sequences of token ids that are never generated."""
    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    max_length: int | None = None
    """The most tokens of prompt and output together, where `max_new_tokens` is None."""
    min_length: int | None = None
    """The fewest, where `min_new_tokens` is None."""
    end_token_ids: frozenset[int] = field(default_factory=frozenset[int])
    candidate_count: int | None = None
    beam_count: int | None = None
    length_penalty: float | None = None
    early_stopping: EarlyStopping | None = None
    rules: OutputRules = field(default_factory=OutputRules)
    decoder_start_ids: tuple[int, ...] = ()
    """The first tokens of an encoder-decoder's decoder; empty for other models."""

    def most_new_tokens(self, prompt_count: int) -> int | None:
        """Returns the most tokens behind a prompt of `prompt_count`, perhaps none; None: any number."""
        most = None if self.max_length is None else max(self.max_length - prompt_count, 0)
        return pick(self.max_new_tokens, most, None)

    def fewest_new_tokens(self, prompt_count: int) -> int:
        """Returns the fewest tokens behind a prompt of `prompt_count`."""
        return pick(self.min_new_tokens, max((self.min_length or 0) - prompt_count, 0), 0)


@dataclass(frozen=True)
class GenerationLimits:
    """The limits of the engine and of a message."""

    context_tokens: int
    """Prompt and output together: the model's context, or the whole cache if that is smaller."""
    vocabulary_size: int
    max_sequences: int = 32
    """Rows of a step: one for each candidate or beam."""
    cache_pages: int = 1 << 40
    page_size: int = 16
    prompt_logprob_bytes: int = 1 << 40
    """The most bytes of a message that a prompt's log-probabilities may take."""
    token_logprob_bytes: tuple[int, ...] = ()
    """The most bytes for one token, by the number of alternatives that are reported."""
    source_tokens: int = 0
    """The context length of the encoder; 0 where there is none."""
    source_vocabulary_size: int = 0
    shares_pages: bool = True
    """Whether sequences share the pages of a common prefix; otherwise each has a cache of its own."""
    no_lookup: str = ""
    """Why tokens cannot be proposed; empty where they can."""

    def room(self, prompt_count: int, beam_count: int = 1, source_count: int = 0) -> int:
        """Returns how many tokens may be generated after a prompt of `prompt_count` tokens.

        Beams share the pages of the encoder's input and the full pages of the prompt, where sequences share pages.
        """
        room = self.context_tokens - prompt_count
        if beam_count == 1:
            return room
        source = -(-source_count // self.page_size)
        if self.shares_pages:
            shared = prompt_count // self.page_size
            each = shared + (self.cache_pages - source - shared) // beam_count
        else:
            each = self.cache_pages // beam_count - source
        return min(room, each * self.page_size - prompt_count + 1)  # the last token is never computed


@dataclass(frozen=True)
class DeliveredTokens:
    """The tokens of one candidate that the caller already holds."""

    candidate_index: int
    token_ids: list[int]


@dataclass(frozen=True)
class TokenizedInput:
    """The tokens of a request, and the names of the fields they came from."""

    prompt: list[int]
    delivered: tuple[DeliveredTokens, ...] = ()
    field: str = "prompt"
    """The request's field that the prompt came from, for violations."""
    source: list[int] | None = None
    """The prompt that was sent, where an encoder reads it; `prompt` then holds the decoder's start tokens."""
    media: PromptMedia | None = None
    """Images and recordings in the prompt."""


def resolve(
    options: GenerationOptions,
    defaults: ModelDefaults,
    limits: GenerationLimits,
    prompt_count: int,
    bad_words: tuple[tuple[int, ...], ...] = (),
    source_count: int = 0,
) -> tuple[SamplingParameters, StoppingCriteria]:
    """Returns the resolved parameters. `options` have no violations; `bad_words` are theirs as token ids."""
    beams = resolve_beams(options, defaults)
    room = limits.room(prompt_count, beams.count if beams else 1, source_count)
    return _sampling(options, defaults, bad_words), _stopping(options, defaults, room, prompt_count)


def resolve_beams(options: GenerationOptions, defaults: ModelDefaults) -> BeamParameters | None:
    """Returns the parameters of the beam search; None where there is one beam."""
    asked = options.beams or BeamOptions(defaults.beam_count or 1)
    if asked.count < 2:
        return None
    return BeamParameters(
        asked.count,
        pick(asked.length_penalty, defaults.length_penalty, 1.0),
        pick(asked.early_stopping, defaults.early_stopping, EarlyStopping.LIKELY),
    )


def resolve_candidates(options: GenerationOptions, defaults: ModelDefaults, beams: BeamParameters | None) -> int:
    """Returns how many outputs are generated."""
    own = defaults.candidate_count or 1
    return pick(options.candidate_count, None, min(own, beams.count) if beams else own)


def pick(asked: T | None, default: T | None, otherwise: T) -> T:
    """Returns the first that is not None of `asked`, `default` and `otherwise`."""
    return asked if asked is not None else default if default is not None else otherwise


def _sampling(
    options: GenerationOptions, defaults: ModelDefaults, bad_words: tuple[tuple[int, ...], ...]
) -> SamplingParameters:
    own_temperature = pick(defaults.temperature, None, 1.0) if defaults.do_sample else 0.0
    return SamplingParameters(
        temperature=pick(options.temperature, None, own_temperature),
        top_k=pick(options.top_k, defaults.top_k, 0),
        top_p=pick(options.top_p, defaults.top_p, 1.0),
        min_p=pick(options.min_p, defaults.min_p, 0.0),
        typical_p=pick(options.typical_p, defaults.typical_p, 1.0),
        repetition_penalty=pick(options.repetition_penalty, defaults.repetition_penalty, 1.0),
        presence_penalty=pick(options.presence_penalty, None, 0.0),
        frequency_penalty=pick(options.frequency_penalty, None, 0.0),
        no_repeat_ngram_size=pick(options.no_repeat_ngram_size, defaults.no_repeat_ngram_size, 0),
        logit_bias=options.logit_bias,
        bad_words=bad_words or defaults.bad_words,
        allowed_token_ids=options.allowed_token_ids,
        seed=random_seed() if options.seed is None else options.seed,
        rules=defaults.rules,
    )


def _stopping(options: GenerationOptions, defaults: ModelDefaults, room: int, prompt_count: int) -> StoppingCriteria:
    wanted = pick(options.max_new_tokens, defaults.most_new_tokens(prompt_count), room)
    unnumbered = options.max_new_tokens is None and defaults.max_new_tokens is None
    return StoppingCriteria(
        max_new_tokens=min(wanted, room),
        min_new_tokens=pick(options.min_new_tokens, None, defaults.fewest_new_tokens(prompt_count)),
        stop_strings=options.stop_strings,
        stop_token_ids=frozenset(options.stop_token_ids),
        end_token_ids=frozenset() if options.ignore_eos else defaults.end_token_ids,
        include_stop_string=options.include_stop_string,
        context_limited=wanted > room or (wanted == room and unnumbered),
    )
