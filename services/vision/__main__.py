"""`python -m services.vision --model DIR_OR_HUB_ID`: one vision model behind VisionService."""

import os
import sys

# Before torch is imported: idle OpenMP threads that spin starve whatever shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.vision.config import VisionSettings


def main() -> int:
    """Runs the service and returns its exit code."""
    from services.vision.app import serve

    return rpc.main(VisionSettings, serve, program="python -m services.vision")


if __name__ == "__main__":
    sys.exit(main())
