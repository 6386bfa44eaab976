"""The text that a model writes, cut at its delimiters."""

from collections.abc import Sequence

from services.engine.language.responses.delimiters import CONTEXT, LONGEST, Delimiter, Mark, Watch

_Verdict = tuple[Delimiter, bool, Mark | None]
"""Of a delimiter: whether it is certain whether it is there, and where."""


class Tape:
    """The text of which it is not yet certain what it is, and a little of the text before it.

    What is found depends on the text alone, however it is cut into pieces: whether a delimiter begins at a place is
    asked with each further character, until that is certain.
    """

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._judged = 0
        self._said_from = 0
        self._said_to: int | None = None
        self._barred: set[Delimiter] = set()
        self._too_slow: set[Delimiter] = set()

    def add(self, text: str) -> None:
        """Adds text."""
        drop = max(0, self._at - CONTEXT)
        self._text = self._text[drop:] + text
        self._at -= drop
        self._said_from = max(0, self._said_from - drop)

    def is_prompt(self) -> None:
        """Tells that all text so far is a prompt's, and what comes the model's."""
        self._said_from = len(self._text)

    def end(self, ending: str) -> None:
        """Adds a text that counts for delimiters only."""
        self.add("")
        self._said_to = len(self._text)
        self._text += ending

    def find(self, watch: Watch, *, final: bool) -> tuple[int, Delimiter | None, Mark | None]:
        """Returns where the first delimiter is.

        Without one, returns where text begins that may still become one. With `final`, no more text comes.
        """
        at = self._at
        while at < len(self._text):
            if candidates := watch.beginning(self._text[at]):
                if at == self._at:
                    candidates = [each for each in candidates if each not in self._barred]
                certain, delimiter, mark = self._judge(candidates, at, final=final)
                if not certain:
                    return at, None, None
                if mark:
                    self._judged = 0
                    return at, delimiter, mark
            self._judged = 0
            at += 1
        return at, None, None

    def cut(self, to: int) -> tuple[str, str]:
        """Returns the text up to index `to`, and that part of it which the model wrote."""
        whole = self._text[self._at : to if self._said_to is None else min(to, self._said_to)]
        said = whole[max(0, self._said_from - self._at) :]
        if to != self._at:
            self._barred.clear()
        self._at = to
        return whole, said

    def bar(self, delimiter: Delimiter) -> None:
        """Tells that this delimiter is none here. One that has no characters would be found again for ever."""
        self._barred.add(delimiter)

    def between(self, start: int, end: int) -> str:
        """Returns a part of the text."""
        return self._text[start:end]

    def _judge(
        self, candidates: Sequence[Delimiter], at: int, *, final: bool
    ) -> tuple[bool, Delimiter | None, Mark | None]:
        """Returns whether it is certain what begins there, and the longest delimiter that does."""
        stop = min(len(self._text), at + LONGEST)
        verdicts = self._verdicts(candidates, at, stop, final=False)
        if all(certain and not mark for _, certain, mark in verdicts):
            return True, None, None
        # Only where all of the text has a delimiter, the shortest is sought that is certain without the text behind it.
        ends = range(at + self._judged + 1, stop + 1) if any(mark for _, _, mark in verdicts) else ()
        for end in ends:
            verdicts = self._verdicts(candidates, at, end, final=False)
            if all(certain for _, certain, _ in verdicts):
                return True, *_longest(verdicts)
        if final or stop - at == LONGEST:
            return True, *_longest(self._verdicts(candidates, at, stop, final=final))
        self._judged = stop - at
        return False, None, None

    def _verdicts(self, candidates: Sequence[Delimiter], at: int, end: int, *, final: bool) -> list[_Verdict]:
        verdicts: list[_Verdict] = []
        for each in candidates:
            if each in self._too_slow:
                continue
            try:
                verdicts.append((each, *each.judge(self._text, at, end, final=final)))
            except TimeoutError:
                self._too_slow.add(each)
        return verdicts


def _longest(verdicts: list[_Verdict]) -> tuple[Delimiter | None, Mark | None]:
    """Of those that are as long as each other, the first is one that opens."""
    marks = [(each, mark) for each, _, mark in verdicts if mark]
    if not marks:
        return None, None
    return min(marks, key=lambda pair: (-pair[1].end, not pair[0].opens, pair[0].field))
