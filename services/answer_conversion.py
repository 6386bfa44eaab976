"""Converts what all responses of models without generation share: identity, usage, times, labels, vectors."""

from collections.abc import Iterable
from typing import Any, TypedDict

from google.protobuf.duration_pb2 import Duration

from sensorium.v1 import common_pb2 as common
from services.engine.batching.answer import Answer, RequestTimes
from services.engine.labels.label_scores import LabelScore

_VALUES = bytes([common.Embedding.VALUES_FIELD_NUMBER << 3 | 2])
"""What numbers that lie packed in an Embedding begin with."""


class Identified(TypedDict):
    """The fields that all such responses have."""

    model: common.ModelIdentity
    usage: common.Usage
    timing: common.Timing


def identified(answer: Answer[Any], identity: common.ModelIdentity) -> Identified:
    """Returns the model's identity, the usage and the times of an answer."""
    usage = common.Usage(input_token_count=answer.input_tokens, image_count=answer.images)
    if answer.audio_seconds is not None:
        usage.audio_duration.CopyFrom(duration(answer.audio_seconds))
    return Identified(model=identity, usage=usage, timing=timing(answer.times))


def classification(labels: Iterable[LabelScore]) -> common.Classification:
    """Returns the labels of one input."""
    return common.Classification(labels=map(label_score, labels))


def label_score(found: LabelScore) -> common.LabelScore:
    """Returns one label with its score."""
    return common.LabelScore(label=found.label, score=found.score, index=found.index)


def embedding(vectors: Any) -> common.Embedding:
    """Returns the vectors of one input, a numpy array `[vectors, dimensions]`, as a message."""
    numbers = vectors.astype("<f4", copy=False).tobytes()
    # Read as a message is: to go over the numbers one by one takes ten times as long.
    found = common.Embedding.FromString(_VALUES + _varint(len(numbers)) + numbers)
    found.vector_count, found.dimension_count = vectors.shape
    return found


def _varint(number: int) -> bytes:
    """Returns a number, at least 0, as messages hold it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def timing(times: RequestTimes) -> common.Timing:
    """Returns seconds as durations. The first output is the only one."""
    return common.Timing(
        queue=duration(times.queue),
        preprocess=duration(times.preprocess),
        time_to_first_output=duration(times.total),
        compute=duration(times.compute),
        total=duration(times.total),
    )


def duration(seconds: float) -> Duration:
    """Returns seconds, at least 0, as a duration."""
    nanoseconds = max(round(seconds * 1e9), 0)
    return Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


def finish_reason(cut: bool | None) -> common.FinishReason.ValueType:
    """Returns why speech or a transcript ended: by itself, or `cut` by a limit; unset for None, which is not known."""
    if cut is None:
        return common.FINISH_REASON_UNSPECIFIED
    return common.FINISH_REASON_MAX_NEW_TOKENS if cut else common.FINISH_REASON_END_OF_SEQUENCE
