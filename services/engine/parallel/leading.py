"""The first rank's side of tensor parallelism: starts the other ranks, notices when one is lost, and ends them."""

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
"""Timeout of an exchange within a step. A step takes a second or so at most, since prompts are read in chunks."""


def started_rank(size: int) -> Rank | None:
    """Returns the rank that `torchrun` has given this process; None if it was not started by `torchrun`.

    Raises:
        ModelRefused: torchrun has started another number of processes than `size`.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    started = int(os.environ["WORLD_SIZE"])
    if started != size:
        raise ModelRefused(f"torchrun has started {started} processes: give --tensor-parallel {started}.")
    return Rank(int(os.environ["RANK"]), size)


def divided(checkpoint: Checkpoint, device: str, rank: Rank) -> Checkpoint:
    """Returns the checkpoint for this rank, on its device. `device` is the operator's setting.

    Raises:
        ModelRefused: there are fewer GPUs than ranks, or the setting names a single device.
    """
    asked, gpus = f"--tensor-parallel {rank.size}", torch.cuda.device_count()
    if ":" in device or (gpus and device == "cpu"):
        raise ModelRefused(f"{asked} uses the first visible GPUs: omit --device, and set CUDA_VISIBLE_DEVICES.")
    if gpus and gpus < rank.size:
        raise ModelRefused(f"{asked}: this machine shows {gpus} GPUs.")
    here = torch.device("cuda", rank.number) if gpus else torch.device("cpu")
    return replace(checkpoint, device=here, rank_count=rank.size)


class Leading:
    """The other ranks, as the first one sees them."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        rank: Rank | None,
        step_seconds: float,
        module: str,
        letter: Callable[[Rank], str],
    ) -> None:
        """Starts the other ranks as `python -m module` with a letter for each, unless torchrun has started all
        (`rank`).

        `step_seconds` is the timeout of an exchange within a step.

        Raises:
            ModelRefused: the model cannot be divided, or a rank ended before it joined.
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
        """Returns the parts of the engine of all ranks. Raises ModelRefused."""
        try:
            made = rank_parts(loaded, settings, self._group)
        except RuntimeError as error:
            self._require_all()
            raise ModelRefused(f"The ranks of {loaded.architecture} cannot run it together: {error}") from error
        assert isinstance(made.runner, LeadingRunner)
        self._runner = made.runner
        return made

    def trouble(self) -> str:
        """Returns `rank_lost` if no step can be run any more, else an empty string. May be called from any thread."""
        since = None if self._runner is None else self._runner.busy_since
        late = since is not None and time.monotonic() - since > self._step_seconds
        return "rank_lost" if late or self._followers.lost else ""

    def close(self) -> None:
        """Ends the other ranks. No step may be running."""
        if self._runner is not None and not self._runner.lost:
            self._runner.end()
        self._followers.close()
        self._group.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _require_all(self) -> None:
        if lost := self._followers.lost:
            raise ModelRefused(lost)
