"""Limits of structures: the size of the text, the cost of compiling, and the cost of one mask.

The library's own limits do not bound the time of compiling: a `multipleOf` of nine digits or four thousand optional
letters keep it busy almost for ever. So each structure is first compiled in a separate process; see `trial`.
"""

from collections.abc import Iterator

from llguidance import LLParserLimits

from sensorium.errors import Violation
from services.engine.structure.format import StructureFormat, StructureKind

MAX_CHARACTERS = {
    StructureKind.JSON_SCHEMA: 262_144,
    StructureKind.REGEX: 8_192,
    StructureKind.GRAMMAR: 32_768,
    StructureKind.CHOICE_LIST: 262_144,
    StructureKind.JSON_OBJECT: 0,
}
MAX_CHOICES = 4_096

TRIAL_CPU_SECONDS = 0.5
"""CPU time for parsing a structure, and again for compiling it. Real structures take a few milliseconds."""
TRIAL_WALL_SECONDS = 20.0
"""Wall time of a trial, for machines so busy that the CPU time limit is not reached."""
TRIAL_MEMORY_BYTES = 192 << 20
STACK_BYTES = 512 << 20
"""Stack of the threads that compile; only address space. The library needs about 30 KB of stack for each nested
reference of a schema, so a chain of a thousand would overflow the usual 8 MiB and kill the process."""

MASK_CPU_SECONDS = 0.05
"""CPU time of one mask. Most take microseconds, and the first of a request a few milliseconds."""


def parser_limits() -> LLParserLimits:
    """Returns the limits passed to the library. A matcher that exceeds them fails, and so does its sequence."""
    return LLParserLimits(
        max_items_in_row=1_000,
        step_max_items=50_000,
        step_lexer_fuel=100_000,
        max_lexer_states=MAX_LEXER_STATES,
        max_grammar_size=100_000,
        # It would make compiling depend on the vocabulary, and brought no measurable gain.
        precompute_large_lexemes=False,
        verbose_errors=False,
    )


MAX_LEXER_STATES = 20_000
BYTES_PER_LEXER_STATE = 2_048
"""An upper bound, documented by the library and confirmed by measurements."""


def size_violations(wanted: StructureFormat) -> Iterator[Violation]:
    """Yields violations for texts that are too large or empty."""
    if wanted.kind is StructureKind.CHOICE_LIST:
        if not 1 <= len(wanted.texts) <= MAX_CHOICES:
            yield Violation(f"{wanted.field}.choices", f"must hold 1 to {MAX_CHOICES} choices, not {len(wanted.texts)}")
        for i, text in enumerate(wanted.texts[:MAX_CHOICES]):
            if not text:
                yield Violation(f"{wanted.field}.choices[{i}]", "must not be empty")
    total, most = sum(map(len, wanted.texts)), MAX_CHARACTERS[wanted.kind]
    if total > most:
        yield Violation(wanted.field, f"has {total} characters; at most {most} are compiled")
