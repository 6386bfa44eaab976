"""Rules of a generation configuration that hold for every output and that callers cannot change."""

from transformers import GenerationConfig

from services.engine.checkpoint import ModelRefused
from services.engine.generation.requests.request import OutputRules

_FROM_ZERO = ("temperature", "top_k", "top_p", "min_p")
_ABOVE_ZERO = ("typical_p", "repetition_penalty", "encoder_repetition_penalty")


def require_possible(own: GenerationConfig) -> None:
    """Checks numbers that `generate` refuses at each request, and of which nothing sensible could be made.

    Raises:
        ModelRefused: one is too low. A top-k of -1 would keep one token, where other servers mean all by it.
    """
    numbers = {name: getattr(own, name) for name in (*_FROM_ZERO, *_ABOVE_ZERO)}
    for name, number in numbers.items():
        if number is not None and (number < 0 or (number == 0 and name in _ABOVE_ZERO)):
            least = "above 0" if name in _ABOVE_ZERO else "at least 0"
            raise ModelRefused(f"Its generation configuration has a {name} of {number:g}, which must be {least}.")


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
