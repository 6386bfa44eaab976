"""Penalties, biases and prohibitions where the logits are: the arithmetic of the host's, of several rows at once.

What is penalized depends on the token that the step before finds and nobody has read yet. So a device keeps what has
been generated, and adds that token where it lies.
"""

from collections.abc import Sequence as Rows

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from services.engine.generation.sampling.device_choice import NO_TOKEN, UNDECIDED, choose, wishes_of
from services.engine.generation.sampling.held_rows import HeldRows
from services.engine.generation.sampling.wishes import Ids
from services.engine.generation.sequence import Sequence

_NEVER = float("-inf")
_LARGEST = torch.finfo(torch.float32).max
_AHEAD = 32
"""Steps there is room for, after which all is laid anew."""


def changes_of(
    sequences: Rows[Sequence], sources: Rows[int] | None, vocabulary: int, device: torch.device
) -> "LogitChanges | None":
    """Returns what changes the logits of these rows `[rows, vocabulary]`; None where none wants it.

    With `sources` each row is one token further than its sequence: the one that the step before finds in that place.
    """
    wishing = [i for i, sequence in enumerate(sequences) if not wishes_of(sequence).none]
    if not wishing:
        return None
    wishing.sort(key=lambda i: not wishes_of(sequences[i]).penalized)  # these are the first
    behind = None if sources is None else [sources[i] for i in wishing]
    return LogitChanges([sequences[i] for i in wishing], wishing, behind, vocabulary, device)


class LogitChanges:
    """Of rows that go on together, for some steps."""

    def __init__(
        self,
        sequences: list[Sequence],
        rows: list[int],
        sources: list[int] | None,
        vocabulary: int,
        device: torch.device,
    ) -> None:
        """Takes sequences that want some, those with penalties first, and which rows of a step they are."""
        wishes = [wishes_of(sequence) for sequence in sequences]
        lengths = [len(sequence.token_ids) + (sources is not None) for sequence in sequences]
        withheld = [one.endings_from - length for one, length in zip(wishes, lengths, strict=True)]
        self.steps = min([_AHEAD, *(count for count in withheld if count > 0)])
        """How many more it is good for."""
        never = [
            np.concatenate([one.never, one.endings]) if count > 0 else one.never
            for one, count in zip(wishes, withheld, strict=True)
        ]
        bounded = [i for i, one in enumerate(wishes) if one.only is not None]
        biased, _, fitting = _places([one.biased for one in wishes], vocabulary)
        biases = np.concatenate([one.biases for one in wishes])[fitting]
        typical = [i for i, one in enumerate(wishes) if one.typical_p < 1]
        held = [i for i, one in enumerate(wishes) if one.held]
        parts = rows, biased, _places(never, vocabulary)[0], bounded, typical, held, sources or []
        sent = _sent(parts, np.int64, device)
        self._rows, self._biased, self._never, self._bounded, self._typical, waiting, behind = sent
        self._held = HeldRows([sequences[i] for i in held], waiting, vocabulary) if held else None
        [self._biases] = _sent([biases], np.float32, device)
        [self._masses] = _sent([[wishes[i].typical_p for i in typical]], np.float64, device)
        self._bounds = _forbidden([one.only for one in wishes if one.only is not None], vocabulary, device)
        penalized = [sequence for sequence, one in zip(sequences, wishes, strict=True) if one.penalized]
        self._sources = behind[: len(penalized)]
        self._penalties = Penalties(penalized, vocabulary, device) if penalized else None
        self._drawn = not all(sequence.request.sampling.greedy for sequence in sequences)

    @property
    def waits(self) -> bool:
        """Whether `choose` is to be called when the tokens in front are known, rather than at once."""
        return self._held is not None

    def begin(self, before: Tensor) -> None:
        """Notes the tokens that are behind all known ones, of those that the step before has found."""
        if self._penalties is not None:
            self._penalties.note(before[self._sources])

    def go_on(self, before: Tensor) -> None:
        """Notes the tokens of the same rows in the step before."""
        if self._penalties is not None:
            self._penalties.note(before[self._rows[: self._penalties.count]])

    def choose(self, logits: Tensor, chosen: Tensor, numbers: Tensor | None) -> None:
        """Chooses anew the tokens of the rows that want changes, as `device_choice.choose` does.

        Where everything is forbidden it is UNDECIDED: with its logits the row fails as it ought to.

        Args:
            logits: `[rows, vocabulary]`, left as they are.
            chosen: int64 `[rows]`, NO_TOKEN where logits are not numbers.
            numbers: See there; None where all rows are greedy.
        """
        self.steps -= 1
        changed = logits[self._rows].float()
        self._change(changed)
        best = changed.max(dim=-1)
        found = torch.where(best.values.isfinite(), best.indices, UNDECIDED)
        found.masked_fill_(chosen[self._rows] == NO_TOKEN, NO_TOKEN)
        chosen[self._rows] = found if numbers is None else self._draw(changed, found, numbers[:, self._rows])

    def _draw(self, logits: Tensor, likeliest: Tensor, numbers: Tensor) -> Tensor:
        some, masses = self._typical, self._masses.unsqueeze(1)
        if not self._drawn:
            return likeliest
        if len(some) == len(likeliest):
            return choose(logits, likeliest, numbers, masses)
        drawn = choose(logits, likeliest, numbers)
        if len(some):
            drawn[some] = choose(logits[some], likeliest[some], numbers[:, some], masses)
        return drawn

    def _change(self, logits: Tensor) -> None:
        """Does so in place, in the order of `row_processors`."""
        flat = logits.view(-1)
        if len(self._biased):
            flat[self._biased] += self._biases
        if self._penalties is not None:
            self._penalties.apply(flat)
        if len(self._never):
            flat.index_fill_(0, self._never, _NEVER)
        if len(self._bounds):
            logits[self._bounded] = logits[self._bounded].masked_fill_(self._bounds, _NEVER)
        if self._held is not None:
            self._held.forbid(logits)


class Penalties:
    """Those of the first rows of some logits: a list of the tokens that are penalized, and of how often each was used.

    A token may stand in the list several times, and then gets the same each time.
    """

    def __init__(self, sequences: list[Sequence], vocabulary: int, device: torch.device) -> None:
        wishes = [wishes_of(sequence) for sequence in sequences]
        self.count = len(sequences)
        """Rows."""
        pasts = [one.past(sequence.token_ids) for one, sequence in zip(wishes, sequences, strict=True)]
        prompts, owners, _ = _places([prompt for prompt, _ in pasts], vocabulary)
        generated, authors, _ = _places([own for _, own in pasts], vocabulary)
        room = np.zeros(_AHEAD * self.count, dtype=np.int64)
        firsts = np.arange(self.count) * vocabulary
        self._listed, self._firsts = _sent([np.concatenate([prompts, generated, room]), firsts], np.int64, device)
        self._end = len(prompts) + len(generated)
        whose = np.concatenate([owners, authors, np.tile(np.arange(self.count), _AHEAD)])
        numbers = np.array([one.penalties for one in wishes], dtype=np.float32).T[:, whose]
        [flat] = _sent([numbers.reshape(-1)], np.float32, device)
        self._numbers = flat.view(3, -1)
        self._uses = torch.zeros(self.count * vocabulary, dtype=torch.float32, device=device)
        self._use(self._listed[len(prompts) : self._end])

    def note(self, tokens: Tensor) -> None:
        """Adds a token to each row."""
        new = self._listed[self._end : self._end + self.count]
        torch.add(tokens.clamp(min=0), self._firsts, out=new)  # one that is not a token ends its row
        self._end += self.count
        self._use(new)

    def apply(self, flat: Tensor) -> None:
        """Penalizes the rows' logits, one row's behind another's."""
        listed, (repetition, presence, frequency) = self._listed[: self._end], self._numbers[:, : self._end]
        logits = flat[listed]
        # See RepetitionPenalty.
        products, quotients = logits * repetition, logits / repetition
        higher = torch.maximum(products, quotients).clamp_(max=_LARGEST)
        logits = torch.where(repetition > 1, torch.minimum(products, quotients), higher)
        uses = self._uses[listed]
        flat[listed] = logits - (presence + frequency * uses).masked_fill_(uses == 0, 0.0)

    def _use(self, listed: Tensor) -> None:
        self._uses.index_add_(0, listed, torch.ones_like(listed, dtype=torch.float32))


def _places(ids: Rows[Ids], vocabulary: int) -> tuple[Ids, Ids, NDArray[np.bool_]]:
    """Returns where rows' tokens are in their logits, one row's behind another's, of which row each is, and which of
    the tokens these are: some models embed more than they generate.
    """
    tokens, owners = np.concatenate(ids), np.repeat(np.arange(len(ids)), [len(own) for own in ids])
    fitting = tokens < vocabulary
    return (owners * vocabulary + tokens)[fitting], owners[fitting], fitting


def _forbidden(allowed: Rows[Ids], vocabulary: int, device: torch.device) -> Tensor:
    """Returns bool `[rows, vocabulary]`: where tokens are not among those allowed of a row."""
    forbidden = torch.ones(len(allowed), vocabulary, dtype=torch.bool, device=device)
    if len(allowed):
        [listed] = _sent([_places(allowed, vocabulary)[0]], np.int64, device)
        forbidden.view(-1).index_fill_(0, listed, False)
    return forbidden


def _sent(
    numbers: Rows[ArrayLike], kind: type[np.int64 | np.float32 | np.float64], device: torch.device
) -> list[Tensor]:
    """Returns numbers on a device, by one transfer that nobody waits for."""
    arrays = [np.asarray(each, dtype=kind) for each in numbers]
    together = torch.from_numpy(np.concatenate(arrays))
    if device.type == "cuda":
        together = together.pin_memory().to(device, non_blocking=True)
    return list(together.split([len(array) for array in arrays]))
