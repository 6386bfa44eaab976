"""`python -m services.text --model DIR_OR_HUB_ID`: one text model behind TextService."""

import os
import sys

# Before torch is imported: idle OpenMP threads that spin starve whatever shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sensorium import rpc
from services.text.config import TextSettings


def main() -> int:
    """Runs the service and returns its exit code."""
    from services.text.app import serve

    return rpc.main(TextSettings, serve, program="python -m services.text")


if __name__ == "__main__":
    sys.exit(main())
