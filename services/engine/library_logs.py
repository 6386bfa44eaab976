"""What libraries say becomes lines of the process's own log."""

import logging
import sys

from huggingface_hub.utils import disable_progress_bars
from transformers.utils.logging import disable_progress_bar


def adopt_library_logs() -> None:
    """Sends the logs of transformers and its hub where all others go.

    By themselves both write to standard error: in a format of their own, which nobody who reads JSON understands, and
    from the thread that calls, which a reader that stops reading would hold up. Without a terminal, where steps of a
    progress bar would be lines, they show none.
    """
    for name in ("transformers", "huggingface_hub"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    if not sys.stderr.isatty():
        disable_progress_bar()
        disable_progress_bars()
