"""`python -m services.text.follower` runs one rank above 0 of a tensor-parallel model.

The text service starts these processes itself.
"""

import gc
import json
import sys

from sensorium.rpc.garbage import kept
from sensorium.rpc.lifecycle import end
from sensorium.rpc.logs import configure
from services.engine.parallel.followers import live_while_led
from services.text.config import TextSettings


def main() -> int:
    """Runs the rank described on standard input, and returns the process's exit code."""
    letter = json.loads(live_while_led())
    settings = TextSettings(**letter["settings"])
    configure(settings.log_level, settings.log_format, calls=False, exception_messages=settings.log_exception_messages)
    with kept():  # torch is imported for many seconds, in which the process already ends with the one that started it
        from services.engine.checkpoint import ModelRefused
        from services.engine.parallel.group import Rank
        from services.text.rank import follow
    rank = Rank(*letter["rank"])
    try:
        follow(settings, rank)
    except ModelRefused as error:
        print(f"Rank {rank.number} cannot start: {error}", file=sys.stderr)
        return 1
    finally:
        gc.unfreeze()
    return 0


if __name__ == "__main__":
    end(main())
