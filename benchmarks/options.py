"""Options of commands that name what there is a list of."""

from collections.abc import Collection
from typing import Any, TypeVar

import typer

_Given = TypeVar("_Given", str, list[str], None)


def one_of(names: Collection[str], *flags: str, help: str) -> Any:
    """Returns an option, of one value or several, that refuses what is not among the names; its help tells them."""

    def check(given: _Given) -> _Given:
        for name in [given] if isinstance(given, str) else given or ():
            if name not in names:
                raise typer.BadParameter(f"{name!r} is none of {', '.join(names)}.")
        return given

    return typer.Option(*flags, callback=check, help=f"{help} Of {', '.join(names)}.")
