"""What the gateway looks at in an answer: its first generated output, the event that closes it, and the usage there."""

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from sensorium.rpc.wire import VARINT_END, Malformed, Scan, TooManyFields
from sensorium.tasks import Method
from sensorium.v1.common_pb2 import Usage


@dataclass(frozen=True)
class AnswerShape:
    """Where things are in the answers of one method, by the numbers of the contract's fields."""

    delta_tag: bytes
    """How a message begins that holds generated output; empty where none does."""
    completed: int
    """The field of the event that closes a stream; 0 where the answers are no streams."""
    usage_path: tuple[int, ...]
    """The fields that lead to the usage, from the last message of a stream or the only one of a call; empty if none."""

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
        """Returns whether a stream may end well behind this message: it holds the event that closes it."""
        try:
            return any(True for _ in Scan(last).fields(0, len(last), (self.completed,)))
        except Malformed:
            return False

    def usage(self, last: bytes) -> Usage | None:
        """Returns the usage in the last message of an answer; None where it holds none, or too many fields.

        Its work grows with the number of the message's fields, such as the items of a batch, and not with their sizes.

        Raises:
            Malformed: the bytes that were looked at are not of a message.
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
