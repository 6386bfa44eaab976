"""`python -m services.text.follower`runs one rank above 0 of a tensor-parallel model.

The text service starts these processes itself.
"""

import json
import sys

from sensorium.rpc.logs import configure
from services.engine.checkpoint import ModelRefused
from services.engine.parallel.followers import live_while_led
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


def main() -> int:
    """Runs the rank described on standard input, and returns the process's exit code."""
    letter = json.loads(live_while_led())
    settings = TextSettings(**letter["settings"])
    configure(settings.log_level, settings.log_format, calls=False, exception_messages=settings.log_exception_messages)
    rank = Rank(*letter["rank"])
    try:
        follow(settings, rank)
    except ModelRefused as error:
        print(f"Rank {rank.number} cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
