"""For how long a GPU has nothing to do between steps that are launched ahead."""

from collections.abc import Collection
from itertools import pairwise

import torch
from torch import Tensor

from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.running.runner import Recorded
from services.engine.generation.sequence import CachedTokens, Row, Sequence

Times = tuple[torch.cuda.Event, torch.cuda.Event]


class TimedSteps:
    """Recorded steps that note when the GPU begins with what was launched and when it is done."""

    def __init__(self, steps: Recorded) -> None:
        self._steps = steps
        self._runs: list[list[Times]] = []
        """Steps that were launched behind one another."""

    def size_for(self, rows: Collection[Row[CachedTokens]]) -> int:
        """See Recorded."""
        return self._steps.size_for(rows)

    def run(self, rows: Collection[Row[CachedTokens]], size: int) -> Tensor:
        """See Recorded."""
        return self._steps.run(rows, size)

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """See Recorded."""
        times = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        times[0].record()
        step = self._steps.launch(rows, after)
        times[1].record()
        if after is None:
            self._runs.append([])
        self._runs[-1].append(times)
        return step

    def idle_share(self) -> float:
        """Returns the share of the longest run of steps in which the GPU waited; not a number if there was none."""
        torch.cuda.synchronize()
        longest = max(self._runs, key=len, default=[])
        if len(longest) < 2:
            return float("nan")
        waited = sum(before[1].elapsed_time(behind[0]) for before, behind in pairwise(longest))
        return waited / longest[0][0].elapsed_time(longest[-1][1])
