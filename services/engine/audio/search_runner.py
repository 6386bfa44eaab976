"""Runs recordings through models that decode step by step (transducers), whose number of steps is unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.engine.audio.runner import AudioRunner
from services.engine.batching.job import Item, Unfinished

FOUND = ("ids", "log_probabilities", "durations")
"""Outputs of a search, `[items, steps]`; `count` `[items]` is the number of valid steps."""
STATE = "state_"
"""Prefix of outputs that hold the state of an unfinished search, under the names of its next inputs."""


@dataclass(frozen=True, eq=False)
class SearchInputs:
    """The state of an unfinished search."""

    tensors: Mapping[str, Tensor]
    found: Sequence[Mapping[str, Tensor]]
    """The outputs so far, one mapping for each turn."""


class SearchRunner(AudioRunner):
    """An AudioRunner whose model stops after some steps. Items that are still `open` return to the queue."""

    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        """See BatchRunner."""
        pairs = zip(items, super().run(items), strict=True)
        return [None if output is None else _collected(item, output) for item, output in pairs]


def _collected(item: Item, output: dict[str, Tensor]) -> dict[str, Tensor] | Unfinished:
    """Returns the whole result of a finished search, or the item that continues it."""
    count = int(output["count"])
    found = [*getattr(item.inputs, "found", ()), {name: output[name][:count] for name in FOUND}]
    if output["open"]:
        state = {name.removeprefix(STATE): value for name, value in output.items() if name.startswith(STATE)}
        state["heard"] = state["heard"][: int(output["frames"])].clone()
        return Unfinished(Item(SearchInputs(state, found), item.length, "search"))
    whole = {name: torch.cat([each[name] for each in found]) for name in FOUND}
    return whole | {"count": torch.tensor(len(whole["ids"])), "frames": output["frames"]}
