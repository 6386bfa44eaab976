"""Proposes how a sequence goes on by how it went on before: tokens behind an earlier place of its latest ones."""

from services.engine.generation.requests.request import PromptLookup
from services.engine.generation.speculation.run_index import RunIndex

_FIRST_WIDTH = 4
_LEAST_RUN = 2
_LONGEST_PAUSE = 64
_MEMORY = 0.75
"""Weight of what is known of earlier proposals against the last ones."""


class Lookup:
    """What one sequence proposes. Nothing here changes a result: tokens are the model's, proposed or not.

    It proposes twice as many after all were accepted and half as many where less than half were; none for a while where
    none was, for longer each time. So a text without repetitions costs next to nothing.
    """

    def __init__(self, parameters: PromptLookup, longest: int) -> None:
        """Takes a sequence of at most `longest` tokens."""
        sizes = range(parameters.longest_run, min(parameters.longest_run, _LEAST_RUN) - 1, -1)
        self._indices = [RunIndex(size, longest) for size in sizes]
        self._most = parameters.most_proposed
        self._width = min(_FIRST_WIDTH, self._most)
        self._source: int | None = None  # where the tokens behind the known ones are taken from
        self._followed = 0  # tokens that were there when it was
        self._rest_until, self._pause = 0, 1
        self.rate = 0.5
        """Share of proposed tokens that were accepted lately."""
        self._foreseen: tuple[int, int] | None = None  # a place, and the token that was waited for there

    def propose(self, token_ids: list[int], most: int, reading: int) -> list[int]:
        """Returns at most `most` tokens for the places behind `token_ids`.

        Reads at most `reading` tokens that are new to it, and proposes nothing until it has read all.
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
        """Notes that a step was held back for the token behind the `known` ones, which costs if it is another."""
        self._foreseen = known, token

    def learn(self, known: int, proposed: int, accepted: int) -> None:
        """Notes how many proposed tokens were accepted, with which the sequence has `known` tokens."""
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
        """Goes on at the source if the new tokens stand there too; else looks for the latest, the longest run first."""
        new = token_ids[self._followed :] if self._source is not None else []
        self._followed = len(token_ids)
        if self._source is not None and token_ids[self._source : self._source + len(new)] == new:
            self._source += len(new)
        else:
            found = (index.find(token_ids) for index in self._indices)
            self._source = next((place for place in found if place is not None), None)
        return self._source
