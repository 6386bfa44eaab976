"""The W3C trace context of a call, as far as it is looked at where nothing is traced."""

import re
from collections.abc import Iterable

TRACEPARENT = "traceparent"

_FORM = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")


def trace_of(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str, bool]:
    """Returns the id of the trace that a call belongs to, and whether it is recorded; empty if there is none."""
    for key, value in metadata:
        if key == TRACEPARENT and isinstance(value, str) and (found := _FORM.fullmatch(value)):
            return found[1], bool(int(found[2], 16) & 1)
    return "", False
