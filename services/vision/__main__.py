"""`python -m services.vision --model DIR_OR_HUB_ID` serves one vision model as VisionService."""

import os
import sys
from collections.abc import Sequence

# Must be set before torch is imported: idle OpenMP threads would spin and starve other threads of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.vision.config import VisionSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service and returns its exit code. `arguments` defaults to the process's command line."""
    from services.vision.app import serve

    return rpc.main(VisionSettings, serve, program="python -m services.vision", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
