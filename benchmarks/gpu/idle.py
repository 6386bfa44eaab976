"""Measures how long a GPU is idle between steps that are launched ahead."""

from collections.abc import Collection
from itertools import pairwise

import torch

from services.engine.generation.recorded.launched_step import LaunchedStep
from services.engine.generation.running.runner import Recorded
from services.engine.generation.sequence import Row, Sequence

Times = tuple[torch.cuda.Event, torch.cuda.Event]


class TimedSteps:
    """Records when the GPU begins and ends each launched step."""

    def __init__(self, steps: Recorded) -> None:
        self._launch = steps.launch
        self._runs: list[list[Times]] = []
        """Steps that were launched behind one another."""

    def launch(self, rows: Collection[Row[Sequence]], after: LaunchedStep | None = None) -> LaunchedStep | None:
        """Replaces Recorded.launch."""
        times = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        times[0].record()
        step = self._launch(rows, after)
        times[1].record()
        if after is None:
            self._runs.append([])
        self._runs[-1].append(times)
        return step

    def idle_share(self) -> float:
        """Returns the share of the longest run of consecutive steps in which the GPU was idle; NaN without a run."""
        torch.cuda.synchronize()
        longest = max(self._runs, key=len, default=[])
        if len(longest) < 2:
            return float("nan")
        waited = sum(before[1].elapsed_time(behind[0]) for before, behind in pairwise(longest))
        return waited / longest[0][0].elapsed_time(longest[-1][1])
