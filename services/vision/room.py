"""What fits into a response."""

from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation

_OTHER_FIELDS = 4096
"""Bytes set aside for what a response holds beside its data."""


@dataclass(frozen=True)
class Room:
    """How many bytes a message may have."""

    message_bytes: int

    def holds(self, data_bytes: int) -> bool:
        """Returns whether a response may hold so many bytes of data."""
        return data_bytes + _OTHER_FIELDS <= self.message_bytes

    def check(self, data: bytes, advice: str) -> bytes:
        """Returns the data.

        Raises:
            InvalidArgument: the response cannot hold it; `advice` says what to do.
        """
        if self.holds(len(data)):
            return data
        description = f"has an answer of {len(data)} bytes, and a message holds {self.message_bytes}: {advice}"
        raise InvalidArgument([Violation("image", description)])
