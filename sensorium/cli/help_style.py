"""How typer shows help: names as long as they are, and no type of flags."""

from collections.abc import Callable

from rich.text import Text
from typer import rich_utils

_TYPES: Callable[[str | Text], Text] | None = getattr(rich_utils, "types_highlighter", None)
"""How typer shows types of options; older versions have no such function."""


def apply() -> None:
    """Changes what typer shows from now on."""
    rich_utils.highlighter = _Whole()
    rich_utils.types_highlighter = _type_of_value  # type: ignore[assignment]


class _Whole(rich_utils.OptionHighlighter):
    """Breaks long names in a narrow terminal, where typer would cut them: nobody could read how to spell them."""

    def __call__(self, text: str | Text) -> Text:
        shown = super().__call__(text)
        shown.overflow = "fold"
        return shown


def _type_of_value(text: str | Text) -> Text:
    """Tells no type of flags, which take no value: `--chat <bool>` reads as if `true` had to follow."""
    told = Text() if str(text) == "<bool>" else text
    return _TYPES(told) if _TYPES is not None else Text(str(told))
