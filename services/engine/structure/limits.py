"""What a structure may cost: the size of its text, the work of compiling it, and the work of one mask.

The library's own limits alone do not bound compiling (a divisor of nine digits, or four thousand optional letters in a
row, keep it busy for as long as you like), so that a trial in a process of its own stands before it; `trial` says how.
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
"""For reading a structure, and once more for compiling it: real ones take a few milliseconds."""
TRIAL_WALL_SECONDS = 20.0
"""On a machine so busy that the processor's time says nothing."""
TRIAL_MEMORY_BYTES = 192 << 20
STACK_BYTES = 512 << 20
"""Of the threads that compile. Address space only: the library recurses about 30 KB for each reference a schema
follows, and a chain of a thousand ends a process whose stack is the usual 8 MiB."""

MASK_CPU_SECONDS = 0.05
"""For one mask; usual ones take microseconds, and the first of a request a few milliseconds."""


def parser_limits() -> LLParserLimits:
    """Returns the library's limits. Beyond them a matcher fails, and its sequence with it."""
    return LLParserLimits(
        max_items_in_row=1_000,
        step_max_items=50_000,
        step_lexer_fuel=100_000,
        max_lexer_states=MAX_LEXER_STATES,
        max_grammar_size=100_000,
        # Makes compiling depend on the vocabulary, for no gain that could be measured.
        precompute_large_lexemes=False,
        verbose_errors=False,
    )


MAX_LEXER_STATES = 20_000
BYTES_PER_LEXER_STATE = 2_048
"""At most, as the library says and measurements confirm."""


def size_violations(wanted: StructureFormat) -> Iterator[Violation]:
    """Yields what is too large or empty."""
    if wanted.kind is StructureKind.CHOICE_LIST:
        if not 1 <= len(wanted.texts) <= MAX_CHOICES:
            yield Violation(f"{wanted.field}.choices", f"must hold 1 to {MAX_CHOICES} choices, not {len(wanted.texts)}")
        for i, text in enumerate(wanted.texts[:MAX_CHOICES]):
            if not text:
                yield Violation(f"{wanted.field}.choices[{i}]", "must not be empty")
    total, most = sum(map(len, wanted.texts)), MAX_CHARACTERS[wanted.kind]
    if total > most:
        yield Violation(wanted.field, f"has {total} characters; at most {most} are compiled")
