"""Checks that results fit into a response message."""

from dataclasses import dataclass

from sensorium.errors import InvalidArgument, Violation

_OTHER_FIELDS = 4096
"""Bytes reserved for the other fields of a response."""


@dataclass(frozen=True)
class Room:
    """The size limit of a response message, in bytes."""

    message_bytes: int

    def holds(self, data_bytes: int) -> bool:
        """Returns whether a response can hold this many bytes of data."""
        return data_bytes + _OTHER_FIELDS <= self.message_bytes

    def check(self, data: bytes, advice: str) -> bytes:
        """Returns the data unchanged if a response can hold it.

        Raises:
            InvalidArgument: it cannot; `advice` tells the caller what to do instead.
        """
        if self.holds(len(data)):
            return data
        description = f"has a result of {len(data)} bytes; a response holds at most {self.message_bytes}: {advice}"
        raise InvalidArgument([Violation("image", description)])
