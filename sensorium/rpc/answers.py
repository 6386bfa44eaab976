"""What an answer tells of itself: the messages of every RPC have the same fields for it."""

from functools import cache
from typing import Any, NamedTuple

from google.protobuf.message import Message

from sensorium.call_record import CallRecord, Consumption
from sensorium.v1 import common_pb2

_PREFIX = "FINISH_REASON_"


class _Shape(NamedTuple):
    """Which of the fields that tell something a kind of message has."""

    completed: bool
    usage: bool
    candidates: bool


def note(record: CallRecord, answer: Any) -> None:
    """Takes over into a record what an answer, or the last event of a stream, tells of usage and of how it ended.

    Answers that are raw bytes tell nothing.
    """
    if not isinstance(answer, Message):
        return
    told: Any = answer
    shape = _shape(type(answer))
    if shape.completed:
        if not told.HasField("completed"):
            return
        end: Message = told.completed
        told, shape = end, _shape(type(end))
    if shape.usage:
        record.consumption = consumption_of(told.usage, _seconds(told.timing.compute))
    if shape.candidates:
        record.finish_reasons = tuple(dict.fromkeys(_name(one.finish.reason) for one in told.candidates))


@cache
def _shape(kind: type[Message]) -> _Shape:
    fields = kind.DESCRIPTOR.fields_by_name
    return _Shape("completed" in fields, "usage" in fields, "candidates" in fields)


@cache
def _name(reason: common_pb2.FinishReason.ValueType) -> str:
    return common_pb2.FinishReason.Name(reason).removeprefix(_PREFIX).lower()


def consumption_of(usage: common_pb2.Usage, compute_seconds: float = 0.0) -> Consumption:
    """Returns what a message tells as plain values."""
    return Consumption(
        input_tokens=usage.input_token_count,
        output_tokens=usage.output_token_count,
        cached_tokens=usage.cached_token_count,
        images=usage.image_count,
        audio_seconds=_seconds(usage.audio_duration) if usage.HasField("audio_duration") else None,
        compute_seconds=compute_seconds,
    )


def _seconds(duration: Any) -> float:
    return duration.seconds + duration.nanos / 1e9
