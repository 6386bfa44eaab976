"""Command-line options whose values must be in a list of names."""

from collections.abc import Collection
from typing import Any, TypeVar

import typer

_Given = TypeVar("_Given", str, list[str], None)


def one_of(names: Collection[str], *flags: str, help: str) -> Any:
    """Returns a typer option, for one value or several, that accepts only these names and lists them in its help."""

    def check(given: _Given) -> _Given:
        for name in [given] if isinstance(given, str) else given or ():
            if name not in names:
                raise typer.BadParameter(f"{name!r} is none of {', '.join(names)}.")
        return given

    return typer.Option(*flags, callback=check, help=f"{help} Of {', '.join(names)}.")
