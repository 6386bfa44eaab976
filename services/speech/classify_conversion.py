"""The edge of ClassifyAudio, both ways."""

from collections.abc import Sequence

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb
from services.answer_conversion import classification, identified
from services.engine.batching.answer import Answer
from services.speech.ask import ClassifyAsk, Labelled
from services.speech.recordings_conversion import recordings_input


def classify_ask(request: pb.ClassifyAudioRequest, seconds: float | None) -> ClassifyAsk:
    """Returns the request as plain values."""
    return ClassifyAsk(
        input=recordings_input(request, request.recordings, seconds),
        labels=list(request.labels),
        hypothesis_template=request.hypothesis_template if request.HasField("hypothesis_template") else None,
        multi_label=request.multi_label if request.HasField("multi_label") else None,
        top_k=request.top_k if request.HasField("top_k") else None,
        raw_scores=request.raw_scores,
    )


def classify_response(answer: Answer[Sequence[Labelled]], identity: common.ModelIdentity) -> pb.ClassifyAudioResponse:
    """Returns the labels as a message."""
    return pb.ClassifyAudioResponse(results=map(classification, answer.result), **identified(answer, identity))
