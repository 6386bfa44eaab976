"""A rank above 0 of a tensor-parallel text model: what it is told to start with, and what it runs."""

import json

from services.engine.parallel.following import run_rank
from services.engine.parallel.group import Rank
from services.engine.parallel.leading import STEP_SECONDS, divided
from services.generation.engine_facts import engine_settings
from services.library_logs import adopt_library_logs
from services.process import checkpoint_of
from services.text.config import TextSettings


def letter_to(rank: Rank, settings: TextSettings) -> str:
    """Returns the line of JSON that the process of a rank reads from standard input."""
    return json.dumps({"rank": [rank.number, rank.size, rank.meeting], "settings": settings.model_dump(mode="json")})


def follow(settings: TextSettings, rank: Rank) -> None:
    """Runs a rank until rank 0 ends. Raises ModelRefused if the model cannot be loaded."""
    adopt_library_logs()
    checkpoint = divided(checkpoint_of(settings), settings.device, rank)
    run_rank(checkpoint, engine_settings(settings), rank, step_seconds(settings))


def step_seconds(settings: TextSettings) -> float:
    """Returns the timeout, in seconds, of a collective operation within a step."""
    return min(settings.stuck_step_seconds, STEP_SECONDS)
