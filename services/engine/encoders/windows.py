"""Splits a text that is longer than a model's context into overlapping windows."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.engine.encoders.tokens import TextTokens
from services.engine.threads.turns import give_way


@dataclass(frozen=True)
class Window:
    """A stretch of a text's tokens, with the special tokens and the other text that every window repeats."""

    tokens: TextTokens
    before: int
    """Number of tokens in the window before the stretch."""
    start: int
    """Index of the stretch's first token in the text."""
    end: int
    """Index after the stretch's last token in the text."""
    own: range
    """The text's tokens, by index, that have the most context in this window. Each token belongs to exactly one
    window's own."""

    @property
    def own_places(self) -> slice:
        """The indices of its own tokens within the window."""
        shift = self.before - self.start
        return slice(self.own.start + shift, self.own.stop + shift)

    @property
    def places(self) -> slice:
        """The indices of the stretch within the window."""
        return slice(self.before, self.before + self.end - self.start)


def room(whole: TextTokens, context: int, sequence: int = 0) -> int:
    """Returns how many tokens of text `sequence` fit in a window beside special tokens and the other text."""
    return context - sum(of != sequence for of in whole.sequences)


def windows(whole: TextTokens, context: int, overlap: int, sequence: int = 0) -> list[Window]:
    """Returns windows of at most `context` tokens over text `sequence`; neighbours share `overlap` of its tokens.

    There is at least one window. `room` must be greater than `overlap`.
    """
    places = [place for place, of in enumerate(whole.sequences) if of == sequence]
    held = room(whole, context, sequence)
    if len(places) <= held:
        before = places[0] if places else len(whole)
        return [Window(whole, before, 0, len(places), range(len(places)))]
    head, tail = range(places[0]), range(places[-1] + 1, len(whole))
    starts = range(0, len(places) - overlap, held - overlap)
    ends = [min(start + held, len(places)) for start in starts]
    bounds = [0, *((start + end + 1) // 2 for start, end in zip(starts[1:], ends, strict=False)), len(places)]
    found: list[Window] = []
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        give_way()
        tokens = whole.select([*head, *places[start:end], *tail])
        found.append(Window(tokens, len(head), start, end, range(bounds[i], bounds[i + 1])))
    return found


def own_tokens(whole: TextTokens, sequence: int = 0) -> Sequence[int]:
    """Returns the indices of the tokens that belong to text `sequence`."""
    return [place for place, of in enumerate(whole.sequences) if of == sequence]
