"""Entry point: `python -m services.speech --model DIR_OR_HUB_ID` serves one audio model as SpeechService."""

import os
import sys
from collections.abc import Sequence

# Must be set before torch is imported: spinning idle OpenMP threads would starve processes on the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.speech.config import SpeechSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service and returns its exit code. `arguments` default to those of the process."""
    from services.speech.app import serve

    return rpc.main(SpeechSettings, serve, program="python -m services.speech", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
