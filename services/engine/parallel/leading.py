"""The first rank's side of a model that is divided: it starts the others, looks after them, and lets them go."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from services.engine.checkpoint import Checkpoint, ModelRefused, read_config
from services.engine.generation.building.build import BuiltEngine, engine_of
from services.engine.generation.building.parts import EngineSettings
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics
from services.engine.parallel.build import RankParts, rank_parts
from services.engine.parallel.followers import Followers
from services.engine.parallel.group import Rank, RankGroup
from services.engine.parallel.plan import require_divisible
from services.engine.parallel.runner import LeadingRunner

STEP_SECONDS = 30.0
"""No exchange within a step takes longer: prompts are read in pieces of a second or so."""


def started_rank(size: int) -> Rank | None:
    """Returns which rank `torchrun` has started this process as; None where it has not.

    Raises:
        ModelRefused: it has started another number of processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    started = int(os.environ["WORLD_SIZE"])
    if started != size:
        raise ModelRefused(f"torchrun has started {started} processes: give --tensor-parallel {started}.")
    return Rank(int(os.environ["RANK"]), size)


def divided(checkpoint: Checkpoint, device: str, rank: Rank) -> Checkpoint:
    """Returns what this rank loads; `device` is the setting.

    Raises:
        ModelRefused: there are fewer GPUs than ranks, or the setting names one of them.
    """
    asked, gpus = f"--tensor-parallel {rank.size}", torch.cuda.device_count()
    if ":" in device or (gpus and device == "cpu"):
        raise ModelRefused(f"{asked} takes the first GPUs it is shown: leave --device, and set CUDA_VISIBLE_DEVICES.")
    if gpus and gpus < rank.size:
        raise ModelRefused(f"{asked}: this machine shows {gpus} GPUs.")
    here = torch.device("cuda", rank.number) if gpus else torch.device("cpu")
    return replace(checkpoint, device=here, rank_count=rank.size)


class Leading:
    """What the first rank holds of the others."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        rank: Rank | None,
        step_seconds: float,
        module: str,
        letter: Callable[[Rank], str],
    ) -> None:
        """Starts the other ranks as `python -m module` with a letter for each, unless `rank` was started with them.

        No exchange within a step may take longer than `step_seconds`.

        Raises:
            ModelRefused: the model cannot be divided, or a rank ended before it was there.
        """
        require_divisible(checkpoint, read_config(checkpoint))
        size, self._folder = checkpoint.rank_count, Path(tempfile.mkdtemp(prefix="sensorium-"))
        own = rank or Rank(0, size, f"file://{self._folder}/meeting")
        others = [] if rank else [replace(own, number=number) for number in range(1, size)]
        self._followers = Followers(module, [letter(one) for one in others])
        self._runner: LeadingRunner | None = None
        self._step_seconds = step_seconds
        try:
            self._group = RankGroup(own, checkpoint.device, step_seconds, self._require_all)
        except BaseException:
            self._followers.close()
            raise

    def build(self, loaded: LoadedModel, settings: EngineSettings, metrics: EngineMetrics) -> BuiltEngine:
        """Returns the engine of all ranks. Raises ModelRefused."""
        made = self.parts(loaded, settings)
        if self._runner is not None:
            self._runner.took = metrics.telling_seconds.inc
        metrics.ranks.set_function(lambda: len(made.rank_bytes) - self._followers.ended)
        return replace(engine_of(loaded, made.parts(settings), settings, metrics), rank_bytes=made.rank_bytes)

    def parts(self, loaded: LoadedModel, settings: EngineSettings) -> RankParts:
        """Returns what the engine of all ranks is put together from. Raises ModelRefused."""
        try:
            made = rank_parts(loaded, settings, self._group)
        except RuntimeError as error:
            self._require_all()
            raise ModelRefused(f"The ranks of {loaded.architecture} cannot run it together: {error}") from error
        assert isinstance(made.runner, LeadingRunner)
        self._runner = made.runner
        return made

    def trouble(self) -> str:
        """Returns `rank_lost` where no step can be run any more, or else nothing. Any thread."""
        since = None if self._runner is None else self._runner.busy_since
        late = since is not None and time.monotonic() - since > self._step_seconds
        return "rank_lost" if late or self._followers.lost else ""

    def close(self) -> None:
        """Lets the others go. No step may be running."""
        if self._runner is not None and not self._runner.lost:
            self._runner.end()
        self._followers.close()
        self._group.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _require_all(self) -> None:
        if lost := self._followers.lost:
            raise ModelRefused(lost)
