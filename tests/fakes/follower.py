"""A follower process (rank > 0) that writes its process id to the file named in its start letter, then sleeps."""

import os
import time
from pathlib import Path

from services.engine.parallel.followers import live_while_led

if __name__ == "__main__":
    said = Path(live_while_led().strip())
    said.with_suffix(".new").write_text(str(os.getpid()))
    said.with_suffix(".new").rename(said)
    time.sleep(60)
