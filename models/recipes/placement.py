"""Puts a finished model where it belongs."""

from __future__ import annotations

import shutil
from pathlib import Path


def put_in_place(ready: Path, output: Path) -> None:
    """Replaces the old folder by the new one, in two renames."""
    output.parent.mkdir(parents=True, exist_ok=True)
    old = output.with_name(output.name + ".old")
    if output.exists():
        output.rename(old)
    ready.rename(output)
    shutil.rmtree(old, ignore_errors=True)
