"""A compiled structure, and the progress of one output in it, which gives masks of allowed tokens."""

import time
from collections.abc import Sequence

from llguidance import LLMatcher

from services.engine.structure.limits import BYTES_PER_LEXER_STATE, MASK_CPU_SECONDS, MAX_LEXER_STATES, parser_limits
from services.engine.structure.reasons import LEXER_FULL, TOO_SLOW, reason, too_complex
from services.engine.structure.vocabulary import Vocabulary

_STATES_PER_SECOND = 200_000
"""The most states that the lexer, which all outputs of a structure share, gains per second of computing masks."""
_WARM_SECONDS = 20e-6
"""Time of a mask that needs no new lexer states."""
_SPENT_BYTES = 16 << 20
"""Growth by new lexer states beyond which a structure is compiled again."""

Mask = bytes
"""One bit per token id, least significant bit first; 1 means that the token is allowed."""


class StructureFailed(Exception):
    """An output can no longer be constrained to its structure. The message says why."""


class Structure:
    """The part that all outputs of one structure share. Made in the compiling thread, used in other threads."""

    def __init__(self, field: str, grammar: str, vocabulary: Vocabulary, compiled_bytes: int) -> None:
        """Compiles a grammar that the trial process accepted; `field` is its field in the request, for violations.

        Raises:
            StructureFailed: it does not compile with this vocabulary, or its first mask takes too long.
        """
        self._matcher = LLMatcher(vocabulary.compiled, grammar, log_level=0, limits=parser_limits())
        self._compiled_bytes = compiled_bytes
        self._cold_seconds = 0.0
        self._begun = -1  # the state begun below does not count
        self.field = field
        self.vocabulary = vocabulary
        self.failure: str | None = None
        """Why no further output can use it; None if it can."""
        # Every output needs the first mask, and it shows whether the structure is too slow with this vocabulary.
        self.begin().mask()

    def begin(self) -> "StructureState":
        """Returns the state of an empty output. This takes microseconds."""
        return self.follow(self._matcher)

    def follow(self, matcher: LLMatcher) -> "StructureState":
        """Returns the state of a new output that starts where `matcher` is."""
        self._begun += 1
        return StructureState(self, matcher.deep_copy())

    @property
    def bytes(self) -> int:
        """An upper bound of the memory that it holds."""
        return self._compiled_bytes + self._grown_bytes

    @property
    def spent(self) -> bool:
        """Whether it may have grown so much by use that it should be compiled again."""
        return self._grown_bytes > _SPENT_BYTES

    @property
    def _grown_bytes(self) -> int:
        states = min(self._cold_seconds * _STATES_PER_SECOND, MAX_LEXER_STATES)
        return round(states * BYTES_PER_LEXER_STATE)

    def worked(self, seconds: float, error: str) -> None:
        """Records the CPU time of one step of an output, and the library's error, which is empty without one.

        Raises:
            StructureFailed: there was an error, or the step took too long.
        """
        self._cold_seconds += max(seconds - _WARM_SECONDS, 0.0)
        if seconds > MASK_CPU_SECONDS:
            error = TOO_SLOW
        if not error:
            return
        if LEXER_FULL in error and self._begun > 1:
            self._cold_seconds = float("inf")  # other outputs may have filled the lexer: recompiling empties it
        elif too_complex(error):
            self.failure = reason(error)
        raise StructureFailed(reason(error))


class StructureState:
    """The progress of one output in its structure. Belongs to one thread at a time."""

    def __init__(self, structure: Structure, matcher: LLMatcher) -> None:
        self._structure = structure
        self._matcher = matcher
        self._size = structure.vocabulary.size
        self._mask: Mask | None = None  # of the next token, once it was computed
        self._refused = False
        self.taken = 0
        """Number of tokens taken."""
        self.failure: str | None = None
        """Why this output can no longer be constrained; None if it can."""

    def fork(self) -> "StructureState":
        """Returns the state of a new output that has the same tokens so far."""
        return self._with_progress(self._structure.follow(self._matcher))

    def ahead(self) -> "StructureState":
        """Returns a copy for tokens that this output may get later, such as drafted ones."""
        return self._with_progress(StructureState(self._structure, self._matcher.deep_copy()))

    def take(self, token_id: int) -> bool:
        """Takes a token of text. Returns False if the structure does not allow it, or did not allow an earlier one."""
        if self._refused or self.failure:
            return False
        # After a mask, taking a token needs no new lexer states, so its time is not measured.
        began = time.thread_time() if self._mask is None else None
        taken = token_id < self._size and self._matcher.try_consume_tokens([token_id]) == 1
        self._mask = None
        self._record_step(began)
        if not taken:
            self._refused = True
            self._compute_mask()  # only now does the library report a lexer that another output made fail
            return False
        self.taken += 1
        return not self.failure

    def advance(self, token_ids: Sequence[int]) -> int:
        """Takes tokens of text up to the first that the structure does not allow. Returns how many it took.

        Raises:
            StructureFailed: a token takes too long or exceeds the library's limits.
        """
        for i, token_id in enumerate(token_ids):
            if not self.take(token_id):
                self._raise_failure()
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
        """Whether the output may end here and has no allowed token left."""
        if not self.accepting:
            return False
        if self._matcher.is_stopped():
            return True
        mask = self._compute_mask()
        return not self.failure and mask == bytes(len(mask))  # a failure is raised by `mask`

    def mask(self) -> Mask:
        """Returns the mask of tokens of text that may come next, `ceil(size / 8)` bytes.

        Raises:
            StructureFailed: computing it takes too long or exceeds the library's limits.
        """
        mask = self._compute_mask()
        self._raise_failure()
        return mask

    def _compute_mask(self) -> Mask:
        if self._mask is None:
            began = time.thread_time()
            found = self._matcher.compute_bitmask()
            self._record_step(began)
            whole, rest = divmod(self._size, 8)
            # Cut off the bit of the library's own end token, which is behind the last token.
            self._mask = found[:whole] + bytes([found[whole] & (1 << rest) - 1] if rest else [])
        return self._mask

    def _raise_failure(self) -> None:
        if self.failure:
            raise StructureFailed(self.failure)

    def _with_progress(self, twin: "StructureState") -> "StructureState":
        twin._mask, twin._refused, twin.taken, twin.failure = self._mask, self._refused, self.taken, self.failure
        return twin

    def _record_step(self, began: float | None) -> None:
        try:
            seconds = 0.0 if began is None else time.thread_time() - began
            self._structure.worked(seconds, self._matcher.get_error())
        except StructureFailed as failed:
            self.failure = str(failed)
