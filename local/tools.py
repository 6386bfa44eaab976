"""Programs that are not on PyPI: `make tools` puts them into `.tools`."""

import shutil
from pathlib import Path

from local.fleet import CHECKOUT


class ToolMissing(Exception):
    """A program is neither in `.tools` nor on the PATH."""


def tool(name: str) -> Path:
    """Returns where the program is.

    Raises:
        ToolMissing: it is nowhere; the message says what to do.
    """
    own = CHECKOUT / ".tools/usr/bin" / name
    if own.exists():
        return own
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is missing: run `make tools`.")
    return Path(found)
