"""Entry point: `python -m services.speech --model DIR_OR_HUB_ID` serves one audio model as SpeechService."""

import os
from collections.abc import Awaitable, Sequence

# Must be set before torch is imported: spinning idle OpenMP threads would starve processes on the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.speech.config import SpeechSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service and returns its exit code. `arguments` default to those of the process."""
    return rpc.main(SpeechSettings, _serve, program="python -m services.speech", arguments=arguments)


def _serve(settings: SpeechSettings) -> Awaitable[None]:
    from services.speech.app import serve  # imports torch for many seconds: wrong settings are told before

    return serve(settings)


if __name__ == "__main__":
    rpc.end(main())
