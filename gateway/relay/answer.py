"""Finds generated output, the `completed` event and the usage in serialized answers, without parsing all of them."""

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from sensorium.rpc.wire import VARINT_END, Malformed, Scan, TooManyFields
from sensorium.tasks import Method
from sensorium.v1.common_pb2 import Usage


@dataclass(frozen=True)
class AnswerShape:
    """Field numbers in the answers of one method, read from the contract's descriptors."""

    delta_tag: bytes
    """The tag byte of the field `delta`, with which a message of generated output begins; empty if there is none."""
    completed: int
    """Field number of `completed`, the last event of a stream; 0 if the method has no such event."""
    usage_path: tuple[int, ...]
    """Field numbers from the last (or only) message of an answer down to its usage; empty if it has none."""

    @classmethod
    def of(cls, method: Method) -> "AnswerShape":
        """Returns the shape of a method's answers."""
        answer = method.response_type.DESCRIPTOR.fields_by_name
        delta, completed, usage = (answer.get(name) for name in ("delta", "completed", "usage"))
        tag = bytes([delta.number << 3 | 2]) if delta is not None else b""
        if completed is not None and completed.message_type is not None:
            usage = completed.message_type.fields_by_name["usage"]
            return cls(tag, completed.number, (completed.number, usage.number))
        return cls(tag, 0, (usage.number,) if usage is not None else ())

    def closes(self, last: bytes) -> bool:
        """Returns whether this message holds `completed`, after which a stream may end with OK."""
        try:
            return any(True for _ in Scan(last).fields(0, len(last), (self.completed,)))
        except Malformed:
            return False

    def usage(self, last: bytes) -> Usage | None:
        """Returns the usage in the last message of an answer; None if it has none or too many fields.

        The work grows with the number of the message's fields (such as the items of a batch), not with their sizes.

        Raises:
            Malformed: the bytes are not a valid message, as far as they were scanned.
        """
        start, end, scan = 0, len(last), Scan(last)
        try:
            for number in self.usage_path:
                spans = [found for found in scan.fields(start, end, (number,)) if found[2] != VARINT_END]
                if not spans:
                    return None
                _, start, end = spans[-1]
            return Usage.FromString(last[start:end]) if self.usage_path else None
        except TooManyFields:
            return None
        except DecodeError:
            raise Malformed("have a usage that is none") from None
