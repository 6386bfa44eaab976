"""`python -m services.text --model DIR_OR_HUB_ID` serves one text model as TextService."""

import os
from collections.abc import Awaitable, Sequence

# Must be set before torch is imported: idle OpenMP threads would spin and starve other threads of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.text.config import TextSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service and returns its exit code. `arguments` defaults to the process's command line."""
    return rpc.main(TextSettings, _serve, program="python -m services.text", arguments=arguments)


def _serve(settings: TextSettings) -> Awaitable[None]:
    from services.text.app import serve  # imports torch for many seconds: wrong settings are told before

    return serve(settings)


if __name__ == "__main__":
    rpc.end(main())
