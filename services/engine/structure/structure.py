"""A compiled structure, and how far one output has come in it."""

import time
from collections.abc import Sequence

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from services.engine.structure.limits import BYTES_PER_LEXER_STATE, MASK_CPU_SECONDS, MAX_LEXER_STATES, parser_limits
from services.engine.structure.reasons import LEXER_FULL, TOO_SLOW, reason, too_complex
from services.engine.structure.vocabulary import Vocabulary

_STATES_PER_SECOND = 200_000
"""Of the lexer that all matchers of a structure share: at most so many come into being in a second of masks."""
_WARM_SECONDS = 20e-6
"""In which a mask is made of states that are there."""
_SPENT_BYTES = 16 << 20
_STATES_OF_ONE = 2
"""Matchers that one output has: for what it may say, and for when it ends."""

Mask = NDArray[np.uint8]
"""One bit per token, the lowest of each byte first."""


class StructureFailed(Exception):
    """An output cannot be held to its structure any further. The message says why."""


class Structure:
    """What all outputs of one structure share. Made in the compiling thread, used in the engine's and others."""

    def __init__(self, field: str, grammar: str, vocabulary: Vocabulary, compiled_bytes: int) -> None:
        """Compiles a grammar that was tried out; `field` is where it stood in the request.

        Raises:
            StructureFailed: it does not compile, or is too slow, with this vocabulary.
        """
        self._matcher = LLMatcher(vocabulary.compiled, grammar, log_level=0, limits=parser_limits())
        self._compiled_bytes = compiled_bytes
        self._cold_seconds = 0.0
        self._begun = 0
        self.field = field
        self.vocabulary = vocabulary
        self.failure: str | None = None
        """Why no further output is held to it."""
        # What every output needs first, and what shows whether the vocabulary is too much for it.
        self.begin().mask()

    def begin(self) -> "StructureState":
        """Returns the state of an empty output, in microseconds; to take a token on takes about two more."""
        return self.follow(self._matcher)

    def follow(self, matcher: LLMatcher) -> "StructureState":
        """Returns the state of an output that has come as far as a matcher."""
        self._begun += 1
        return StructureState(self, matcher.deep_copy())

    @property
    def bytes(self) -> int:
        """Memory it holds at most."""
        return self._compiled_bytes + self._grown_bytes

    @property
    def spent(self) -> bool:
        """Whether it may have grown so much by use that it is better compiled anew."""
        return self._grown_bytes > _SPENT_BYTES

    @property
    def _grown_bytes(self) -> int:
        states = min(self._cold_seconds * _STATES_PER_SECOND, MAX_LEXER_STATES)
        return round(states * BYTES_PER_LEXER_STATE)

    def worked(self, seconds: float, error: str) -> None:
        """Notes the processor time that one output took, and the library's error if there was one.

        Raises:
            StructureFailed: there was, or it took too long.
        """
        self._cold_seconds += max(seconds - _WARM_SECONDS, 0.0)
        if seconds > MASK_CPU_SECONDS:
            error = TOO_SLOW
        if not error:
            return
        if LEXER_FULL in error and self._begun > 1 + _STATES_OF_ONE:
            self._cold_seconds = float("inf")  # others may have filled it: the next finds it empty
        elif too_complex(error):
            self.failure = reason(error)
        raise StructureFailed(reason(error))


class StructureState:
    """Follows one output. Belongs to one thread at a time."""

    def __init__(self, structure: Structure, matcher: LLMatcher) -> None:
        self._structure = structure
        self._matcher = matcher
        self._size = structure.vocabulary.size
        self.failure: str | None = None
        """Why this output cannot be followed any further."""

    def fork(self) -> "StructureState":
        """Returns the state of an output that has the same tokens and goes on by itself."""
        twin = self._structure.follow(self._matcher)
        twin.failure = self.failure
        return twin

    def advance(self, token_ids: Sequence[int]) -> int:
        """Takes tokens of text on, up to the first that the structure does not admit. Returns how many it took.

        Raises:
            StructureFailed: one takes too long, or more than the limits allow.
        """
        for i, token_id in enumerate(token_ids):
            began = time.thread_time()
            taken = token_id < self._size and self._matcher.try_consume_tokens([token_id])
            self._note(began)
            if not taken:
                self.mask()  # of a lexer that failed under another output the library says nothing before
                return i
        return len(token_ids)

    def admits(self, token_id: int) -> bool:
        """Returns whether a token of text may come next."""
        return token_id < self._size and self._matcher.validate_tokens([token_id]) == 1

    @property
    def accepting(self) -> bool:
        """Whether the output may end here."""
        return self._matcher.is_accepting() and not self._matcher.is_error()

    @property
    def complete(self) -> bool:
        """Whether the output may end here and cannot go on."""
        if not self.accepting or self._matcher.is_stopped():
            return self.accepting
        try:
            return not self.mask().any()
        except StructureFailed:
            return False  # whoever needs the mask is told

    def mask(self) -> Mask:
        """Returns which tokens of text may come next: `[size / 8]`, rounded up.

        Raises:
            StructureFailed: that takes too long, or more than the limits allow.
        """
        began = time.thread_time()
        mask = self._matcher.compute_bitmask()
        self._note(began)
        bits = np.frombuffer(mask, dtype=np.uint8)[: -(-self._size // 8)].copy()
        if self._size % 8:
            bits[-1] &= (1 << self._size % 8) - 1  # the library's own end lies behind the last token
        return bits

    def _note(self, began: float) -> None:
        try:
            self._structure.worked(time.thread_time() - began, self._matcher.get_error())
        except StructureFailed as failed:
            self.failure = str(failed)
            raise
