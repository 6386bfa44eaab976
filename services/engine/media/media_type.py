"""Parses declared media types and compares them with detected ones."""

UNDECLARED = ("", "application/octet-stream")
"""Types that say nothing, and so contradict nothing."""
_MOST_CHARACTERS_QUOTED = 40


def essence(media_type: str) -> str:
    """Returns a media type in lower case without parameters: `image/png` for `Image/PNG; q=1`."""
    return media_type.partition(";")[0].strip().lower()


def parameters(media_type: str) -> dict[str, str]:
    """Returns the parameters of a media type by their names in lower case; one without a value has an empty one."""
    pairs = (part.partition("=") for part in media_type.split(";")[1:] if part.strip())
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def contradiction(media_type: str, found: str) -> str:
    """Returns the message for a declared type that contradicts the detected type `found`."""
    quoted = essence(media_type)[:_MOST_CHARACTERS_QUOTED].encode("ascii", "replace").decode()
    return f"is declared as {quoted!r}, but its bytes are {found}: declare that, or leave mime_type empty"
