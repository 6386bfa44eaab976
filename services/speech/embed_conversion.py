"""The edge of EmbedAudio, both ways."""

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2 as pb
from services.answer_conversion import embedding, identified
from services.engine.batching.answer import Answer
from services.speech.ask import EmbedAsk, Embedded
from services.speech.recordings_conversion import recordings_input


def embed_ask(request: pb.EmbedAudioRequest, seconds: float | None) -> EmbedAsk:
    """Returns the request as plain values."""
    return EmbedAsk(
        input=recordings_input(request, request.recordings, seconds),
        texts=list(request.texts),
        normalize=request.normalize if request.HasField("normalize") else True,
        dimension_count=request.dimension_count if request.HasField("dimension_count") else None,
    )


def embed_response(answer: Answer[Embedded], identity: common.ModelIdentity) -> pb.EmbedAudioResponse:
    """Returns the embeddings as a message."""
    return pb.EmbedAudioResponse(
        audio_embeddings=[embedding(row[None]) for row in answer.result.recordings],
        text_embeddings=[embedding(row[None]) for row in answer.result.texts],
        **identified(answer, identity),
    )
