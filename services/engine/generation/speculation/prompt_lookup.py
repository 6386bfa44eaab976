"""Proposes the tokens that followed an earlier occurrence of a sequence's latest tokens."""

from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.speculation.run_index import RunIndex

_FIRST_WIDTH = 4
_LEAST_RUN = 2
_LONGEST_PAUSE = 64
_MEMORY = 0.75
"""Weight of earlier proposals against the last ones in the rate of acceptance."""


class Lookup:
    """The prompt lookup of one sequence. It changes no result: the model verifies every proposed token.

    It doubles the number of proposed tokens when all were accepted, and halves it when fewer than half were. When none
    was accepted it pauses, each time for longer, so that a text without repetitions costs next to nothing.
    """

    def __init__(self, parameters: PromptLookup, longest: int) -> None:
        """`longest` is the greatest length of the sequence, in tokens."""
        sizes = range(parameters.longest_run, min(parameters.longest_run, _LEAST_RUN) - 1, -1)
        self._indices = [RunIndex(size, longest) for size in sizes]
        self._most = parameters.most_proposed
        self._width = min(_FIRST_WIDTH, self._most)
        self._source: int | None = None  # where the tokens behind the known ones are taken from
        self._followed = 0  # tokens that were there when it was
        self._rest_until, self._pause = 0, 1
        self.rate = 0.5
        """The recent share of proposed tokens that were accepted."""
        self._foreseen: tuple[int, int] | None = None  # a place, and the token that was waited for there

    def propose(self, token_ids: list[int], most: int, reading: int) -> list[int]:
        """Returns at most `most` tokens to follow `token_ids`.

        Indexes at most `reading` tokens that are new to it, and proposes nothing until all are indexed.
        """
        self._compare(token_ids)
        noted = [index.note(token_ids, reading) for index in self._indices]
        if max(noted) == reading or len(token_ids) < self._rest_until:
            self._source = None
            return []
        source = self._follow(token_ids)
        if source is None:
            return []
        known = len(token_ids)
        proposed: list[int] = []
        for place in range(source, source + min(self._width, most)):
            proposed.append(token_ids[place] if place < known else proposed[place - known])
        return proposed

    def foresee(self, known: int, token: int) -> None:
        """Notes that a step was delayed for the token after the `known` ones, foreseen as `token`."""
        self._foreseen = known, token

    def learn(self, known: int, proposed: int, accepted: int) -> None:
        """Notes how many proposed tokens were accepted; the sequence then has `known` tokens."""
        self.rate = _MEMORY * self.rate + (1 - _MEMORY) * accepted / proposed
        if accepted == proposed:
            self._width = min(2 * max(self._width, 1), self._most)
        elif 2 * accepted < proposed:
            self._width = max(self._width // 2, 1)
        self._pause = 1 if accepted else min(2 * self._pause, _LONGEST_PAUSE)
        self._rest_until = 0 if accepted else known + self._pause

    def _compare(self, token_ids: list[int]) -> None:
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and token_ids[foreseen[0] :][:1] != [foreseen[1]]:
            self.learn(len(token_ids), 1, 0)

    def _follow(self, token_ids: list[int]) -> int | None:
        """Moves along the source if the new tokens match there; else searches for the latest, longest run first."""
        new = token_ids[self._followed :] if self._source is not None else []
        self._followed = len(token_ids)
        if self._source is not None and token_ids[self._source : self._source + len(new)] == new:
            self._source += len(new)
        else:
            found = (index.find(token_ids) for index in self._indices)
            self._source = next((place for place in found if place is not None), None)
        return self._source
