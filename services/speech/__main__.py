"""`python -m services.speech --model DIR_OR_HUB_ID`: one model of audio behind SpeechService."""

import os
import sys
from collections.abc import Sequence

# Before torch is imported: idle OpenMP threads that spin starve whatever shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.speech.config import SpeechSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service and returns its exit code; `arguments` are by default those of the process."""
    from services.speech.app import serve

    return rpc.main(SpeechSettings, serve, program="python -m services.speech", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
