"""A rank that says which process it is, in the file its letter names, and does nothing more."""

import os
import time
from pathlib import Path

from services.engine.parallel.followers import live_while_led

if __name__ == "__main__":
    said = Path(live_while_led().strip())
    said.with_suffix(".new").write_text(str(os.getpid()))
    said.with_suffix(".new").rename(said)
    time.sleep(60)
