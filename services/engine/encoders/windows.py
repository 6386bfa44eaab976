"""A text that is longer than a model's context, as windows that share tokens with their neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.engine.encoders.tokens import TextTokens
from services.engine.threads.turns import give_way


@dataclass(frozen=True)
class Window:
    """A stretch of a text's tokens with the special ones, and the other text, that are read with every stretch."""

    tokens: TextTokens
    before: int
    """Tokens of the window in front of the stretch."""
    start: int
    """First token of the stretch, counted among the text's own."""
    end: int
    """Token behind its last, likewise."""
    own: range
    """Those of its tokens that no other window sees with more of the text on their nearer side. Every token of the text
    is one window's own."""

    @property
    def own_places(self) -> slice:
        """Where its own tokens are in the window."""
        shift = self.before - self.start
        return slice(self.own.start + shift, self.own.stop + shift)

    @property
    def places(self) -> slice:
        """Where the stretch is in the window."""
        return slice(self.before, self.before + self.end - self.start)


def room(whole: TextTokens, context: int, sequence: int = 0) -> int:
    """Returns how many tokens of a text a window holds beside what is not the text's; the text is `sequence`."""
    return context - sum(of != sequence for of in whole.sequences)


def windows(whole: TextTokens, context: int, overlap: int, sequence: int = 0) -> list[Window]:
    """Returns windows of at most `context` tokens over the text `sequence`, whose neighbours share `overlap` of them.

    There is at least one. `room` is more than the overlap.
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
    """Returns the places of a text's own tokens."""
    return [place for place, of in enumerate(whole.sequences) if of == sequence]
