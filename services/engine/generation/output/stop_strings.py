"""Finds stop strings in text that arrives in pieces."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """A stop string, and the text that leaves before it (or with it, if it is to be included)."""

    stop_string: str
    text: str


class StopScanner:
    """Lets text through, but for an end that may turn out to begin a stop string."""

    def __init__(self, stop_strings: tuple[str, ...], *, include: bool) -> None:
        self._stop_strings = stop_strings
        self._include = include
        self._held = ""

    def push(self, text: str) -> str | Match:
        """Returns the text that may leave now, or the match that ends it. The earliest match wins, then the longest."""
        self._held += text
        found = [(self._held.find(stop), -len(stop), stop) for stop in self._stop_strings if stop in self._held]
        if found:
            start, _, stop = min(found)
            return Match(stop, self.flush()[: start + len(stop) * self._include])
        keep = self._possible_start()
        released, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return released

    def flush(self) -> str:
        """Returns what was held back."""
        held, self._held = self._held, ""
        return held

    def _possible_start(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop_strings), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop_strings):
                return length
        return 0
