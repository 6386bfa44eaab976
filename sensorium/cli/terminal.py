"""What may reach a terminal."""

_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))


def printable(text: str) -> str:
    """Returns `text` without what speaks to a terminal rather than to its reader; tab and newline stay."""
    return text.translate(_CONTROL)
