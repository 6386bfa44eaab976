"""`python -m services.multimodal --model DIR_OR_HUB_ID` serves one multimodal model as MultimodalService."""

import os
import sys
from collections.abc import Sequence

# Must be set before torch is imported: idle OpenMP threads would spin and starve other threads of the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.multimodal.config import MultimodalSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the service and returns its exit code. `arguments` defaults to the process's command line."""
    from services.multimodal.app import serve

    return rpc.main(MultimodalSettings, serve, program="python -m services.multimodal", arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
