"""Translates the library's error messages for callers, who know neither its notation nor its settings."""

import re

_MOST_CHARACTERS = 400
_TOO_COMPLEX = re.compile(
    r"(?i)too many (items|states|expressions)|current row has|too big|too large|grammar size|assertion failed"
)
TOO_SLOW = "too many states to look at for one token"
"""Our own error for a mask that takes too long, worded so that `too_complex` recognizes it."""
LEXER_FULL = "too many states:"
"""Part of the library's error when the lexer has too many states. All outputs of a structure share the lexer."""
_UNSATISFIABLE = re.compile(r"NoExtension|[Uu]nsatisfiable grammar")


def too_complex(message: str) -> bool:
    """Returns whether an error message says that one of the limits was exceeded."""
    return bool(_TOO_COMPLEX.search(message))


def reason(message: str) -> str:
    """Returns the message for callers, for an error message of the library."""
    if _UNSATISFIABLE.search(message):
        return "admits no output at all"
    if too_complex(message):
        return "is too complex: shorten repetitions, alternatives and lists, or split it"
    # Cut off the excerpt of the grammar in the library's notation, with its caret.
    lines = [
        line.strip() for line in re.split(r"\n\s+\d+ \| |<non-verbose/>|<backtrace|<state>", message)[0].splitlines()
    ]
    words = " ".join(line for line in lines if line and line != "^")
    words = re.sub(r"^(at )?\d+\(\d+\): ", "", words)
    words = words.rpartition("error: ")[2]
    return words[:_MOST_CHARACTERS] or "does not compile"
