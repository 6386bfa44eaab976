"""Finds programs that are not on PyPI, such as Prometheus. `make tools` installs them into `.tools`."""

import shutil
from pathlib import Path

from local.fleet import CHECKOUT


class ToolMissing(Exception):
    """A program is neither in `.tools` nor on the PATH."""


def tool(name: str) -> Path:
    """Returns the path of a program, from `.tools` or the PATH.

    Raises:
        ToolMissing: it is not installed; the message says how to install it.
    """
    own = CHECKOUT / ".tools/usr/bin" / name
    if own.exists():
        return own
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is missing: run `make tools`.")
    return Path(found)
