"""Checks how many candidates and beams a request asks for."""

from collections.abc import Iterator

from sensorium.errors import Violation
from services.engine.generation.requests.resolution import (
    GenerationLimits,
    GenerationOptions,
    ModelDefaults,
    resolve_beams,
    resolve_candidates,
)

MAX_CANDIDATES = 16
MAX_BEAMS = 16
MAX_LENGTH_PENALTY = 10.0
"""With a greater exponent the length of an output would leave nothing of its score."""


def breadth_violations(
    options: GenerationOptions, defaults: ModelDefaults, limits: GenerationLimits
) -> Iterator[Violation]:
    """Yields everything that is wrong with candidates and beams, except for their size in the cache."""
    beams = resolve_beams(options, defaults)
    count = resolve_candidates(options, defaults, beams)
    if not 1 <= count <= MAX_CANDIDATES:
        yield Violation("parameters.candidate_count", f"must be in [1, {MAX_CANDIDATES}], not {count}")
    elif beams and count > beams.count:
        yield Violation("parameters.candidate_count", f"must be at most {beams.count}, the number of beams")
    elif not beams and count > limits.max_sequences:
        yield Violation("parameters.candidate_count", _too_many(count, limits))
    if options.beams:
        yield from _beam_violations(options.beams.count, options.beams.length_penalty, limits)


def _beam_violations(count: int, length_penalty: float | None, limits: GenerationLimits) -> Iterator[Violation]:
    if not 2 <= count <= MAX_BEAMS:
        yield Violation("parameters.beam_search.beam_count", f"must be in [2, {MAX_BEAMS}], not {count}")
    elif count > limits.max_sequences:
        yield Violation("parameters.beam_search.beam_count", _too_many(count, limits))
    # Not `abs(x) > most`: a NaN is in no range.
    if length_penalty is not None and not -MAX_LENGTH_PENALTY <= length_penalty <= MAX_LENGTH_PENALTY:
        words = f"must be in [{-MAX_LENGTH_PENALTY:g}, {MAX_LENGTH_PENALTY:g}], not {length_penalty:g}"
        yield Violation("parameters.beam_search.length_penalty", words)


def _too_many(count: int, limits: GenerationLimits) -> str:
    return f"must be at most {limits.max_sequences}, the sequences this service works on at once, not {count}"
