"""`python -m services.text --model DIR_OR_HUB_ID` serves one text model as TextService."""

import os
import sys
from collections.abc import Sequence

# Must be set before torch is imported: idle OpenMP threads would spin and starve other threads of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.text.config import TextSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service and returns its exit code. `arguments` defaults to the process's command line."""
    from services.text.app import serve

    return rpc.main(TextSettings, serve, program="python -m services.text", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
