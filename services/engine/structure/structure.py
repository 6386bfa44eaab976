"""A compiled structure, and how far one output has come in it."""

import time
from collections.abc import Sequence

from llguidance import LLMatcher

from services.engine.structure.limits import BYTES_PER_LEXER_STATE, MASK_CPU_SECONDS, MAX_LEXER_STATES, parser_limits
from services.engine.structure.reasons import LEXER_FULL, TOO_SLOW, reason, too_complex
from services.engine.structure.vocabulary import Vocabulary

_STATES_PER_SECOND = 200_000
"""Of the lexer that all matchers of a structure share: at most so many come into being in a second of masks."""
_WARM_SECONDS = 20e-6
"""In which a mask is made of states that are there."""
_SPENT_BYTES = 16 << 20

Mask = bytes
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
        self._begun = -1  # but for the one below
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
        if LEXER_FULL in error and self._begun > 1:
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
        self._mask: Mask | None = None  # of what may come next, once it was asked for
        self._refused = False
        self.taken = 0
        """Tokens it has taken on."""
        self.failure: str | None = None
        """Why this output cannot be followed any further."""

    def fork(self) -> "StructureState":
        """Returns the state of an output that has the same tokens and goes on by itself."""
        return self._like(self._structure.follow(self._matcher))

    def ahead(self) -> "StructureState":
        """Returns a state that takes on tokens which the same output may get."""
        return self._like(StructureState(self._structure, self._matcher.deep_copy()))

    def take(self, token_id: int) -> bool:
        """Takes a token of text on. Returns whether it did: none that the structure does not admit, or behind one."""
        if self._refused or self.failure:
            return False
        # What a token takes that a mask admits was there when the mask was made.
        began = time.thread_time() if self._mask is None else None
        taken = token_id < self._size and self._matcher.try_consume_tokens([token_id]) == 1
        self._mask = None
        self._note(began)
        if not taken:
            self._refused = True
            self._look()  # of a lexer that failed under another output the library says nothing before
            return False
        self.taken += 1
        return not self.failure

    def advance(self, token_ids: Sequence[int]) -> int:
        """Takes tokens of text on, up to the first that the structure does not admit. Returns how many it took.

        Raises:
            StructureFailed: one takes too long, or more than the limits allow.
        """
        for i, token_id in enumerate(token_ids):
            if not self.take(token_id):
                self._require()
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
        if not self.accepting:
            return False
        if self._matcher.is_stopped():
            return True
        mask = self._look()
        return not self.failure and mask == bytes(len(mask))  # of a failure is told who needs the mask

    def mask(self) -> Mask:
        """Returns which tokens of text may come next: `[size / 8]`, rounded up.

        Raises:
            StructureFailed: that takes too long, or more than the limits allow.
        """
        mask = self._look()
        self._require()
        return mask

    def _look(self) -> Mask:
        if self._mask is None:
            began = time.thread_time()
            found = self._matcher.compute_bitmask()
            self._note(began)
            whole, rest = divmod(self._size, 8)
            # The library's own end lies behind the last token.
            self._mask = found[:whole] + bytes([found[whole] & (1 << rest) - 1] if rest else [])
        return self._mask

    def _require(self) -> None:
        if self.failure:
            raise StructureFailed(self.failure)

    def _like(self, twin: "StructureState") -> "StructureState":
        twin._mask, twin._refused, twin.taken, twin.failure = self._mask, self._refused, self.taken, self.failure
        return twin

    def _note(self, began: float | None) -> None:
        try:
            seconds = 0.0 if began is None else time.thread_time() - began
            self._structure.worked(seconds, self._matcher.get_error())
        except StructureFailed as failed:
            self.failure = str(failed)
