"""The library's messages in the words of a caller, who sees neither its notation nor its settings."""

import re

_MOST_CHARACTERS = 400
_TOO_COMPLEX = re.compile(
    r"(?i)too many (items|states|expressions)|current row has|too big|too large|grammar size|assertion failed"
)
TOO_SLOW = "too many states to look at for one token"
"""In the words of the library's limits, for one that it lacks."""
LEXER_FULL = "too many states:"
"""In the words of the library: of a lexer, which all outputs of a structure share."""
_UNSATISFIABLE = re.compile(r"NoExtension|[Uu]nsatisfiable grammar")


def too_complex(message: str) -> bool:
    """Returns whether a matcher or a compilation met one of the library's limits."""
    return bool(_TOO_COMPLEX.search(message))


def reason(message: str) -> str:
    """Returns why a structure does not compile."""
    if _UNSATISFIABLE.search(message):
        return "admits no output at all"
    if too_complex(message):
        return "is too complex: shorten repetitions, alternatives and lists, or split it"
    # An excerpt of the library's own notation follows, with a caret.
    lines = [
        line.strip() for line in re.split(r"\n\s+\d+ \| |<non-verbose/>|<backtrace|<state>", message)[0].splitlines()
    ]
    words = " ".join(line for line in lines if line and line != "^")
    words = re.sub(r"^(at )?\d+\(\d+\): ", "", words)
    words = words.rpartition("error: ")[2]
    return words[:_MOST_CHARACTERS] or "does not compile"
