"""Rules of a generation configuration that hold for every output and that callers cannot change."""

from transformers import GenerationConfig

from services.engine.generation.requests.request import OutputRules


def output_rules(own: GenerationConfig) -> OutputRules:
    """Returns the rules of a generation configuration."""
    return OutputRules(
        first_token_id=own.forced_bos_token_id,
        last_token_ids=token_ids(own.forced_eos_token_id),
        suppressed_token_ids=token_ids(own.suppress_tokens),
        suppressed_first_token_ids=token_ids(own.begin_suppress_tokens),
        source_repetition_penalty=float(own.encoder_repetition_penalty or 1.0),
        source_no_repeat_ngram_size=own.encoder_no_repeat_ngram_size or 0,
    )


def token_ids(value: int | list[int] | None) -> tuple[int, ...]:
    """Returns what a configuration gives as an id, a list of ids, or not at all; a negative one is no token's."""
    given = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(each for each in given if each >= 0)
