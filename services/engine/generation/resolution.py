"""From what a caller asked for, and what the model says of itself, to parameters with nothing left open."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from sensorium.errors import Violation
from services.engine.generation.request import SamplingParameters, StoppingCriteria

MAX_STOP_STRINGS = 16
MAX_STOP_STRING_CHARACTERS = 256
MAX_STOP_TOKEN_IDS = 256

T = TypeVar("T")


@dataclass(frozen=True)
class GenerationOptions:
    """What a caller asked for; None or empty where it left the choice to the model."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    stop_strings: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    include_stop_string: bool = False
    skip_special_tokens: bool = True
    priority: int = 0
    unsupported: tuple[str, ...] = ()
    """Names of parameters the caller set that this service does not honour yet."""


@dataclass(frozen=True)
class ModelDefaults:
    """What the model's generation configuration says; None where it is silent."""

    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    end_token_ids: frozenset[int] = field(default_factory=frozenset[int])


@dataclass(frozen=True)
class GenerationLimits:
    """What fits."""

    context_tokens: int
    """Prompt and output together: the model's context, or the whole cache if that is smaller."""
    vocabulary_size: int


@dataclass(frozen=True)
class TokenizedInput:
    """The tokens of a request, and the names of the fields they came from."""

    prompt: list[int]
    delivered: list[int]
    field: str = "prompt"
    """Where the prompt came from, for the words of a violation."""


def violations(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits, tokens: TokenizedInput | None
) -> Iterator[Violation]:
    """Yields everything that is wrong: ranges of the contract, limits of the model, ids outside its vocabulary.

    `tokens` is None where the input itself was refused already.
    """
    yield from _range_violations(options)
    yield from _stop_violations(options, limits)
    if tokens is None:
        return
    yield from _token_violations(tokens.field, tokens.prompt, limits)
    yield from _token_violations("delivered[0].token_ids", tokens.delivered, limits)
    yield from _length_violations(options, defaults, limits, tokens)
    sampling, _ = resolve(options, defaults, limits, len(tokens.prompt))
    if tokens.delivered and not sampling.greedy and options.seed is None:
        yield Violation("parameters.seed", "must be given to resume a sampled request")


def resolve(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits, prompt_count: int
) -> tuple[SamplingParameters, StoppingCriteria]:
    """Returns the parameters in force, for options without violations."""
    return _sampling(options, defaults), _stopping(options, defaults, limits, prompt_count)


def _pick(asked: T | None, default: T | None, otherwise: T) -> T:
    """Returns what was asked for, else the model's default, else `otherwise`."""
    return asked if asked is not None else default if default is not None else otherwise


def _sampling(options: GenerationOptions, defaults: ModelDefaults) -> SamplingParameters:
    own_temperature = _pick(defaults.temperature, None, 1.0) if defaults.do_sample else 0.0
    return SamplingParameters(
        temperature=_pick(options.temperature, None, own_temperature),
        top_k=_pick(options.top_k, defaults.top_k, 0),
        top_p=_pick(options.top_p, defaults.top_p, 1.0),
        min_p=_pick(options.min_p, defaults.min_p, 0.0),
        repetition_penalty=_pick(options.repetition_penalty, defaults.repetition_penalty, 1.0),
        seed=_pick(options.seed, None, secrets.randbits(63)),
    )


def _stopping(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits, prompt_count: int
) -> StoppingCriteria:
    room = limits.context_tokens - prompt_count
    wanted = _pick(options.max_new_tokens, defaults.max_new_tokens, room)
    return StoppingCriteria(
        max_new_tokens=min(wanted, room),
        min_new_tokens=_pick(options.min_new_tokens, defaults.min_new_tokens, 0),
        stop_strings=options.stop_strings,
        stop_token_ids=frozenset(options.stop_token_ids),
        end_token_ids=frozenset() if options.ignore_eos else defaults.end_token_ids,
        include_stop_string=options.include_stop_string,
        context_limited=wanted > room or (options.max_new_tokens is None and defaults.max_new_tokens is None),
    )


def _range_violations(options: GenerationOptions) -> Iterator[Violation]:
    # `not (a <= x)` rather than `x < a`: a NaN is in no range.
    ranges: tuple[tuple[str, float | None, float, float, str], ...] = (
        ("parameters.temperature", options.temperature, 0, 100, "in [0, 100]"),
        ("parameters.top_k", options.top_k, 0, 2**31, "at least 0"),
        ("parameters.min_p", options.min_p, 0, 1, "in [0, 1]"),
        ("parameters.seed", options.seed, 0, 2**63, "at least 0"),
        ("parameters.max_new_tokens", options.max_new_tokens, 1, 2**31, "at least 1"),
        ("parameters.min_new_tokens", options.min_new_tokens, 0, 2**31, "at least 0"),
        ("priority", options.priority, -10, 10, "in [-10, 10]"),
    )
    for name, value, low, high, words in ranges:
        if value is not None and not low <= value <= high:
            yield Violation(name, f"must be {words}, not {value:g}")
    if options.top_p is not None and not 0 < options.top_p <= 1:
        yield Violation("parameters.top_p", f"must be in (0, 1], not {options.top_p:g}")
    if options.repetition_penalty is not None and not 0 < options.repetition_penalty <= 100:
        yield Violation("parameters.repetition_penalty", f"must be in (0, 100], not {options.repetition_penalty:g}")
    for name in options.unsupported:
        yield Violation(name, "is not supported by this service; leave it out")


def _stop_violations(options: GenerationOptions, limits: GenerationLimits) -> Iterator[Violation]:
    if len(options.stop_strings) > MAX_STOP_STRINGS:
        yield Violation(
            "parameters.stop_strings", f"must be at most {MAX_STOP_STRINGS}, not {len(options.stop_strings)}"
        )
    for i, text in enumerate(options.stop_strings[:MAX_STOP_STRINGS]):
        if not 1 <= len(text) <= MAX_STOP_STRING_CHARACTERS:
            yield Violation(
                f"parameters.stop_strings[{i}]",
                f"must have 1 to {MAX_STOP_STRING_CHARACTERS} characters, not {len(text)}",
            )
    if len(options.stop_token_ids) > MAX_STOP_TOKEN_IDS:
        count = len(options.stop_token_ids)
        yield Violation("parameters.stop_token_ids", f"must be at most {MAX_STOP_TOKEN_IDS}, not {count}")
    yield from _token_violations("parameters.stop_token_ids", list(options.stop_token_ids), limits)


def _token_violations(name: str, ids: list[int], limits: GenerationLimits) -> Iterator[Violation]:
    # Ids past the context are too many anyway, which is a violation of its own.
    for i, token_id in enumerate(ids[: limits.context_tokens]):
        if not 0 <= token_id < limits.vocabulary_size:
            yield Violation(f"{name}[{i}]", f"must be in [0, {limits.vocabulary_size}), not {token_id}")


def _length_violations(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits, tokens: TokenizedInput
) -> Iterator[Violation]:
    context, wanted, prompt = limits.context_tokens, options.max_new_tokens, len(tokens.prompt)
    if prompt == 0:
        yield Violation(tokens.field, "must come to at least one token")
    elif prompt >= context:
        yield Violation(tokens.field, f"has {prompt} tokens; prompt and output together may have {context}")
    elif wanted is not None and prompt + wanted > context:
        yield Violation(
            "parameters.max_new_tokens",
            f"asks for {wanted} tokens after a prompt of {prompt}; {context} fit in all, so at most {context - prompt}",
        )
    if wanted is not None and wanted < 1:
        return  # a violation already, and no measure for others
    most = min(_pick(wanted, defaults.max_new_tokens, context), max(context - prompt, 0))
    if options.min_new_tokens is not None and options.min_new_tokens > most:
        yield Violation("parameters.min_new_tokens", f"must be at most {most}, as no more are generated")
    if len(tokens.delivered) > most:
        yield Violation("delivered[0].token_ids", f"holds {len(tokens.delivered)} tokens; at most {most} are generated")
