"""Takes recordings through a model that searches what was said, of which nobody can tell before how long that takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.engine.audio.runner import AudioRunner
from services.engine.batching.job import Item, Unfinished

FOUND = ("ids", "log_probabilities", "durations")
"""Outputs of a search, `[items, steps]`; `count` `[items]` says how many steps are an item's own."""
LEFT = "left_"
"""Begins the names of outputs that are the inputs of the same names without it, where a search has to go on."""


@dataclass(frozen=True, eq=False)
class SearchInputs:
    """A search that goes on."""

    tensors: Mapping[str, Tensor]
    found: Sequence[Mapping[str, Tensor]]
    """What came of it so far."""


class SearchRunner(AudioRunner):
    """An AudioRunner whose model stops after some steps: items that are `open` go on once others had a turn."""

    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        """See BatchRunner."""
        return [_taken_up(item, output) for item, output in zip(items, super().run(items), strict=True)]


def _taken_up(item: Item, output: dict[str, Tensor]) -> dict[str, Tensor] | Unfinished:
    """Returns all that was found, or with what the search goes on."""
    count = int(output["count"])
    found = [*getattr(item.inputs, "found", ()), {name: output[name][:count] for name in FOUND}]
    if output["open"]:
        left = {name.removeprefix(LEFT): value for name, value in output.items() if name.startswith(LEFT)}
        left["heard"] = left["heard"][: int(output["frames"])].clone()
        return Unfinished(Item(SearchInputs(left, found), item.length, "search"))
    whole = {name: torch.cat([each[name] for each in found]) for name in FOUND}
    return whole | {"count": torch.tensor(len(whole["ids"])), "frames": output["frames"]}
