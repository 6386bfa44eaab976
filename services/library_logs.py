"""Sends the logs of libraries through the log of the process."""

import logging
import sys

from huggingface_hub.utils import disable_progress_bars
from transformers.utils.logging import disable_progress_bar


def adopt_library_logs() -> None:
    """Sends the logs of transformers and huggingface_hub to the root logger, as all others.

    By default both write to standard error themselves: not in JSON, and from the calling thread, which would block
    where nobody reads standard error. Progress bars are off where standard error is no terminal.
    """
    for name in ("transformers", "huggingface_hub"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    if not sys.stderr.isatty():
        disable_progress_bar()
        disable_progress_bars()
