"""The output of one sequence: from sampled ids to deltas and a finish. Depends on the ids alone, so that a resumed
request that replays them holds the same state as the one that was interrupted.
"""

from copy import copy

from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from services.engine.generation.output.stop_strings import Match, StopScanner
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import (
    Alternative,
    Delta,
    Finish,
    FinishReason,
    Likelihood,
    StoppingCriteria,
    TokenLogprob,
)
from services.engine.structure.structure import Structure, StructureFailed


class OutputBuilder:
    """Collects ids, releases text in whole characters, and tells when and why the output ends."""

    def __init__(
        self,
        detokenizer: IncrementalDetokenizer,
        stopping: StoppingCriteria,
        token_texts: TokenTexts,
        candidate_index: int = 0,
        structure: Structure | None = None,
        forced_count: int = 0,
    ) -> None:
        """`token_texts` gives alternatives their text, where log-probabilities are asked for.

        A structure holds what follows the first `forced_count` tokens. One that admits no token at all finishes the
        output before its first.
        """
        self.candidate_index = candidate_index
        self._token_texts = token_texts
        self._detokenizer = detokenizer
        self._stopping = stopping
        self._scanner = StopScanner(stopping.stop_strings, include=stopping.include_stop_string)
        self._ids: list[int] = []  # since the last delta
        self._logprobs: list[TokenLogprob] = []  # of those ids
        self._unread: list[int] = []  # the last of those ids, whose text nobody has asked for yet
        self._text = ""  # released since the last delta
        self._ready = 0  # how many of those ids that text is of
        self._reads_each = bool(stopping.stop_strings)
        self._lengths: list[int] = []  # of that text with each of those ids, where each is read
        self.token_count = 0
        """Ids taken, those replayed included."""
        self.structure = structure.begin() if structure else None
        """How far it has come in its structure: as far as its ids, but for one that ends it."""
        self._forced_count = forced_count
        self.finish: Finish | None = self._ended_by_structure()

    @property
    def waiting(self) -> int:
        """Ids taken since the last delta."""
        return len(self._ids)

    @property
    def plain(self) -> bool:
        """Whether each id ends it or not by what it is and how many there are, whatever it says."""
        return self.structure is None and not self._reads_each

    def append(self, token_id: int) -> None:
        """Takes the next id as `push` does: one that ends nothing, of an output that is plain."""
        self.token_count += 1
        self._ids.append(token_id)
        self._unread.append(token_id)

    def push(self, token_id: int, likelihood: Likelihood | None = None) -> Finish | None:
        """Takes the next id and returns why the output ends with it, if it does. Nothing may follow a finish.

        The likelihood is given for each id or for none.
        """
        self.token_count += 1
        self._ids.append(token_id)
        if likelihood:
            self.note(likelihood)
        self.finish = self._ended_by_token(token_id)
        if not self.finish:
            self._unread.append(token_id)
            if self._reads_each:
                self.finish = self._read()
        if self.structure and not self.finish and self.token_count > self._forced_count:
            self.structure.take(token_id)  # whoever asks what may follow ends it if that fails, and says so
        self.finish = self.finish or self._ended_by_structure() or self._ended_by_length()
        if self.finish and self.finish.reason is not FinishReason.STOP_STRING:
            self._read()
            # Bytes of a character that nothing completes are text from now on, and may be a stop string's last.
            self.finish = self._scan(self._detokenizer.flush()) or self.finish
            self._text += self._scanner.flush()
        if self._reads_each:
            self._lengths.append(len(self._text))
        return self.finish

    def note(self, likelihood: Likelihood) -> None:
        """Takes the likelihood of the last id, where it is known later than the id."""
        self._logprobs.append(self.logprob(self._ids[-1], likelihood))

    def replay(self, token_ids: tuple[int, ...]) -> int:
        """Takes ids that were delivered before, together with the text they released.

        Returns how many were taken: fewer than given if the output ends before the last, or if its structure does not
        admit the next.

        Raises:
            StructureFailed: the structure is too complex to follow them.
        """
        for token_id in token_ids:
            if self.finish or not self._admits(token_id):
                break
            self.push(token_id)
            if self.structure and self.structure.failure:
                raise StructureFailed(self.structure.failure)
        self._read()
        self._ids, self._text, self._lengths, self._ready = [], "", [], 0
        return self.token_count

    def fork(self) -> "OutputBuilder":
        """Returns a builder that has taken the same ids and goes on by itself, reading each id as it comes."""
        self._read()
        twin = copy(self)
        twin._unread, twin._reads_each = [], True
        twin._detokenizer, twin._scanner = self._detokenizer.fork(), copy(self._scanner)
        twin.structure = self.structure.fork() if self.structure else None
        twin._ids, twin._logprobs, twin._lengths = [*self._ids], [*self._logprobs], [*self._lengths]
        return twin

    def take(self, behind: int = 0) -> Delta | None:
        """Returns what was released since the last call; ids whose text is held back wait for it.

        Leaves out the first `behind` ids, and the text that had been released with them: of a builder that was forked.
        """
        self._read()
        text = self._text[self._lengths[behind - 1] :] if behind else self._text
        if not text and not (self.finish and len(self._ids) > behind):
            return None
        end = len(self._ids) if self.finish else self._ready
        delta = Delta(text, tuple(self._ids[behind:end]), tuple(self._logprobs[behind:end]), self.candidate_index)
        self._ids, self._logprobs, self._text = self._ids[end:], self._logprobs[end:], ""
        self._lengths, self._ready = [0] * len(self._ids), 0
        return delta

    def logprob(self, token_id: int, likelihood: Likelihood) -> TokenLogprob:
        """Returns how likely a token was, with its alternatives in words."""
        alternatives = tuple(
            Alternative(other, logprob, self._token_texts[other]) for other, logprob in likelihood.likeliest
        )
        return TokenLogprob(token_id, likelihood.logprob, likelihood.rank, alternatives)

    def _ended_by_token(self, token_id: int) -> Finish | None:
        if self.token_count < self._stopping.min_new_tokens:
            return None
        if token_id in self._stopping.end_token_ids:
            return Finish(FinishReason.END_OF_SEQUENCE, token_id=token_id)
        if token_id in self._stopping.stop_token_ids:
            return Finish(FinishReason.STOP_TOKEN, token_id=token_id)
        return None

    def _read(self) -> Finish | None:
        """Turns into text what was not yet: together, as that costs hardly more than one id. Returns what that ends."""
        if not self._unread:
            return None
        before, count = len(self._text), len(self._ids) - len(self._unread)
        text, taken = self._detokenizer.read(self._unread)
        self._unread = []
        finish = self._scan(text)
        if len(self._text) > before:
            self._ready = count + taken
        return finish

    def _scan(self, text: str) -> Finish | None:
        """Releases text as far as it cannot begin a stop string. Returns the end that it comes to if it holds one."""
        if not self._reads_each or self.token_count < self._stopping.min_new_tokens:
            self._text += text
            return None
        released = self._scanner.push(text)
        if isinstance(released, Match):
            self._text += released.text
            return Finish(FinishReason.STOP_STRING, stop_string=released.stop_string)
        self._text += released
        return None

    def _ended_by_structure(self) -> Finish | None:
        # Whatever the minimum of tokens: there is nothing to go on with.
        complete = self.structure and self.structure.complete
        return Finish(FinishReason.STRUCTURE_COMPLETE) if complete else None

    def _admits(self, token_id: int) -> bool:
        """Returns whether the structure lets a token stand here: as an end where it may end, else as text."""
        if not self.structure or self.token_count < self._forced_count:
            return True
        if token_id in self._stopping.ending_ids and self.structure.accepting:
            return True
        return token_id not in self._stopping.end_token_ids and self.structure.admits(token_id)

    def _ended_by_length(self) -> Finish | None:
        if self.token_count < self._stopping.max_new_tokens:
            return None
        limited = self._stopping.context_limited
        return Finish(FinishReason.CONTEXT_LENGTH if limited else FinishReason.MAX_NEW_TOKENS)
