"""Checks a request: the contract's ranges, the model's limits, token ids outside its vocabulary."""

from collections.abc import Iterator, Sequence

from sensorium.errors import Violation
from services.engine.generation.requests.breadth import breadth_violations
from services.engine.generation.requests.resolution import (
    GenerationLimits,
    GenerationOptions,
    ModelDefaults,
    TokenizedInput,
    pick,
    resolve,
    resolve_beams,
    resolve_candidates,
)

MAX_STOP_STRINGS = 16
MAX_STOP_STRING_CHARACTERS = 256
MAX_STOP_TOKEN_IDS = 256
MAX_NO_REPEAT_NGRAM_SIZE = 32
MAX_LOGIT_BIASES = 1024
MAX_BAD_WORDS = 256
MAX_BAD_WORD_CHARACTERS = 256
MAX_ALLOWED_TOKEN_IDS = 16_384
MAX_LOGPROB_COUNT = 20
MAX_PROPOSED_TOKENS = 32
MAX_MATCHED_TOKENS = 8


def violations(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits, tokens: TokenizedInput | None
) -> Iterator[Violation]:
    """Yields everything that is wrong.

    `tokens` is None where the input itself was refused already.
    """
    yield from _range_violations(options)
    yield from _text_violations(options)
    yield from _id_violations(options, limits)
    yield from breadth_violations(options, defaults, limits)
    yield from _lookup_violations(options, defaults, limits)
    if tokens is None:
        return
    # Ids past the context are too many anyway, which is a violation of its own.
    if tokens.source is None:
        yield from _token_violations(tokens.field, tokens.prompt[: limits.context_tokens], limits)
    else:
        yield from _source_violations(options, tokens.source, tokens.field, limits)
    yield from _delivered_violations(options, defaults, limits, tokens)
    yield from _length_violations(options, defaults, limits, tokens)
    yield from _message_violations(options, limits, tokens)
    if options.seed is None and any(delivered.token_ids for delivered in tokens.delivered):
        sampling, _ = resolve(options, defaults, limits, len(tokens.prompt), source_count=len(tokens.source or ()))
        if not sampling.greedy:
            yield Violation("parameters.seed", "must be given to resume a sampled request")


def _range_violations(options: GenerationOptions) -> Iterator[Violation]:
    # `not (a <= x)` rather than `x < a`: a NaN is in no range.
    ranges: tuple[tuple[str, float | None, float, float, str], ...] = (
        ("parameters.temperature", options.temperature, 0, 100, "in [0, 100]"),
        ("parameters.top_k", options.top_k, 0, 2**31, "at least 0"),
        ("parameters.min_p", options.min_p, 0, 1, "in [0, 1]"),
        ("parameters.presence_penalty", options.presence_penalty, -2, 2, "in [-2, 2]"),
        ("parameters.frequency_penalty", options.frequency_penalty, -2, 2, "in [-2, 2]"),
        ("parameters.no_repeat_ngram_size", options.no_repeat_ngram_size, 0, MAX_NO_REPEAT_NGRAM_SIZE, "in [0, 32]"),
        ("parameters.logprob_count", options.logprob_count, 0, MAX_LOGPROB_COUNT, "in [0, 20]"),
        ("parameters.prompt_logprob_count", options.prompt_logprob_count, 0, MAX_LOGPROB_COUNT, "in [0, 20]"),
        ("parameters.seed", options.seed, 0, 2**63, "at least 0"),
        ("parameters.max_new_tokens", options.max_new_tokens, 1, 2**31, "at least 1"),
        ("parameters.min_new_tokens", options.min_new_tokens, 0, 2**31, "at least 0"),
        ("priority", options.priority, -10, 10, "in [-10, 10]"),
    )
    for name, value, low, high, words in ranges:
        if value is not None and not low <= value <= high:
            yield Violation(name, f"must be {words}, not {value:g}")
    above_zero = (
        ("parameters.top_p", options.top_p, 1),
        ("parameters.typical_p", options.typical_p, 1),
        ("parameters.repetition_penalty", options.repetition_penalty, 100),
    )
    for name, value, high in above_zero:
        if value is not None and not 0 < value <= high:
            yield Violation(name, f"must be in (0, {high}], not {value:g}")


def _text_violations(options: GenerationOptions) -> Iterator[Violation]:
    lists = (
        ("parameters.stop_strings", options.stop_strings, MAX_STOP_STRINGS, MAX_STOP_STRING_CHARACTERS),
        ("parameters.bad_words", options.bad_words, MAX_BAD_WORDS, MAX_BAD_WORD_CHARACTERS),
    )
    for name, texts, most, characters in lists:
        if len(texts) > most:
            yield Violation(name, f"must be at most {most}, not {len(texts)}")
        for i, text in enumerate(texts[:most]):
            if not 1 <= len(text) <= characters:
                yield Violation(f"{name}[{i}]", f"must have 1 to {characters} characters, not {len(text)}")


def _id_violations(options: GenerationOptions, limits: GenerationLimits) -> Iterator[Violation]:
    for name, ids, most in (
        ("parameters.stop_token_ids", options.stop_token_ids, MAX_STOP_TOKEN_IDS),
        ("parameters.allowed_token_ids", options.allowed_token_ids, MAX_ALLOWED_TOKEN_IDS),
    ):
        if len(ids) > most:
            yield Violation(name, f"must be at most {most}, not {len(ids)}")
        yield from _token_violations(name, ids[:most], limits)
    biases = options.logit_bias
    if len(biases) > MAX_LOGIT_BIASES:
        yield Violation("parameters.logit_bias", f"must be at most {MAX_LOGIT_BIASES}, not {len(biases)}")
    for token_id, bias in biases[:MAX_LOGIT_BIASES]:
        place = f"parameters.logit_bias[{token_id}]"
        if not 0 <= token_id < limits.vocabulary_size:
            yield Violation(place, f"must be of an id in [0, {limits.vocabulary_size})")
        elif not -100 <= bias <= 100:
            yield Violation(place, f"must be in [-100, 100], not {bias:g}")


def _lookup_violations(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits
) -> Iterator[Violation]:
    if options.lookup is None:
        return
    place = "parameters.prompt_lookup"
    for name, value, most in (
        ("max_proposed_token_count", options.lookup.most_proposed, MAX_PROPOSED_TOKENS),
        ("max_matched_token_count", options.lookup.longest_run, MAX_MATCHED_TOKENS),
    ):
        if not 1 <= value <= most:
            yield Violation(f"{place}.{name}", f"must be in [1, {most}], not {value}")
    if limits.no_lookup:
        yield Violation(place, f"must be left out: {limits.no_lookup}")
    elif resolve_beams(options, defaults):
        yield Violation(place, "must be left out: beams go on from what all of them have computed")


def _token_violations(name: str, ids: Sequence[int], limits: GenerationLimits) -> Iterator[Violation]:
    yield from _range_of_ids(name, ids, limits.vocabulary_size)


def _source_violations(
    options: GenerationOptions, source: list[int], name: str, limits: GenerationLimits
) -> Iterator[Violation]:
    yield from _range_of_ids(name, source[: limits.source_tokens], limits.source_vocabulary_size)
    if not source:
        yield Violation(name, "must come to at least one token")
    elif len(source) > limits.source_tokens:
        yield Violation(name, f"has {len(source)} tokens; the model's encoder reads {limits.source_tokens}")
    if options.prompt_logprob_count is not None:
        wrong = "must be left out: an encoder reads the prompt, and tells no likelihood of it"
        yield Violation("parameters.prompt_logprob_count", wrong)


def _range_of_ids(name: str, ids: Sequence[int], size: int) -> Iterator[Violation]:
    for i, token_id in enumerate(ids):
        if not 0 <= token_id < size:
            yield Violation(f"{name}[{i}]", f"must be in [0, {size}), not {token_id}")


def _delivered_violations(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits, tokens: TokenizedInput
) -> Iterator[Violation]:
    count = resolve_candidates(options, defaults, resolve_beams(options, defaults))
    seen: set[int] = set()
    for i, delivered in enumerate(tokens.delivered):
        place, index = f"delivered[{i}]", delivered.candidate_index
        if not 0 <= index < count:
            yield Violation(f"{place}.candidate_index", f"must be in [0, {count}), not {index}")
        elif index in seen:
            yield Violation(f"{place}.candidate_index", f"is {index} for a second time")
        seen.add(index)
        yield from _token_violations(f"{place}.token_ids", delivered.token_ids[: limits.context_tokens], limits)


def _length_violations(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits, tokens: TokenizedInput
) -> Iterator[Violation]:
    context, wanted, prompt = limits.context_tokens, options.max_new_tokens, len(tokens.prompt)
    beams = resolve_beams(options, defaults)
    room = limits.room(prompt, beams.count if beams else 1, len(tokens.source or ()))
    own = pick(wanted, defaults.most_new_tokens(prompt), context)
    given = "what the decoder starts with" if tokens.source is not None else f"a prompt of {prompt}"
    if prompt == 0:
        yield Violation(tokens.field, "must come to at least one token")
    elif prompt >= context:
        yield Violation(tokens.field, f"has {prompt} tokens; prompt and output together may have {context}")
    elif beams and room < 1:
        place = "parameters.beam_search.beam_count"
        read = prompt + len(tokens.source or ())
        yield Violation(place, f"asks for {beams.count} beams, for which the cache has no room behind {read} tokens")
    elif wanted is None and own < 1:
        configured = f"the model's generation configuration ends prompt and output at {defaults.max_length}"
        yield Violation("parameters.max_new_tokens", f"must be given behind {given}: {configured}")
    elif wanted is not None and wanted > room:
        yield Violation(
            "parameters.max_new_tokens",
            f"asks for {wanted} tokens after {given}; {prompt + room} fit in all, so at most {room}",
        )
    if wanted is not None and wanted < 1:
        return  # a violation already, and no measure for others
    most = min(own, max(room, 0))
    if options.min_new_tokens is not None and options.min_new_tokens > most:
        yield Violation("parameters.min_new_tokens", f"must be at most {most}, as no more are generated")
    for i, delivered in enumerate(tokens.delivered):
        if len(delivered.token_ids) > most:
            held = len(delivered.token_ids)
            yield Violation(f"delivered[{i}].token_ids", f"holds {held} tokens; at most {most} are generated")


def _message_violations(
    options: GenerationOptions, limits: GenerationLimits, tokens: TokenizedInput
) -> Iterator[Violation]:
    """Finds out whether the prompt's log-probabilities fit a message, however long the texts of alternatives are."""
    count, sizes, fit = options.prompt_logprob_count, limits.token_logprob_bytes, limits.prompt_logprob_bytes
    prompt = len(tokens.prompt)
    if count is None or not 0 <= count < len(sizes) or prompt >= limits.context_tokens:
        return
    if prompt * sizes[count] > fit:
        most = sum(prompt * size <= fit for size in sizes) - 1
        advice = f"ask for at most {most}" if most >= 0 else "leave it out"
        wrong = f"comes to as much as {prompt * sizes[count]} bytes for {prompt} tokens, and {fit} fit; {advice}"
        yield Violation("parameters.prompt_logprob_count", wrong)
