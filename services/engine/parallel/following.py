"""The main function of every rank but the first."""

import signal

from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.parts import EngineSettings
from services.engine.loading import load_language_checkpoint
from services.engine.parallel.build import rank_parts
from services.engine.parallel.group import Rank, RankGroup
from services.engine.parallel.runner import follow


def run_rank(checkpoint: Checkpoint, settings: EngineSettings, rank: Rank, step_seconds: float) -> None:
    """Loads this rank's part of the model, and runs steps until the first rank ends. Call it from the main thread.

    Raises:
        ModelRefused: the model cannot be run this way.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the first rank drains its requests, which takes all ranks
    group = RankGroup(rank, checkpoint.device, step_seconds)
    loaded = load_language_checkpoint(checkpoint)
    follow(rank_parts(loaded, settings, group).runner, group)
    group.close()
