"""A follower that runs 8-bit weights on the CPU, which services refuse because it is slow."""

import sys

from services.engine import checkpoint
from services.text.follower import main

if __name__ == "__main__":
    checkpoint.unsuitable = lambda kind, device: ""
    sys.exit(main())
