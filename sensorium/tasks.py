"""Facts about every RPC that runs a model: the tasks it serves and the shape of its streams.

The tasks are written down here; everything else is read from the descriptors of the contract.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from sensorium.v1 import models_pb2 as models
from sensorium.v1 import multimodal_pb2, speech_pb2, text_pb2, vision_pb2

SERVICES: tuple[ServiceDescriptor, ...] = (
    text_pb2.DESCRIPTOR.services_by_name["TextService"],
    vision_pb2.DESCRIPTOR.services_by_name["VisionService"],
    speech_pb2.DESCRIPTOR.services_by_name["SpeechService"],
    multimodal_pb2.DESCRIPTOR.services_by_name["MultimodalService"],
)
"""The services that run a model: every service of the contract but ModelService."""

TASKS_BY_METHOD: Mapping[str, tuple["models.Task.ValueType", ...]] = MappingProxyType(
    {
        "/sensorium.v1.TextService/Generate": (models.TASK_GENERATE_TEXT,),
        "/sensorium.v1.TextService/StreamGenerate": (models.TASK_GENERATE_TEXT,),
        "/sensorium.v1.TextService/Embed": (models.TASK_EMBED_TEXT,),
        "/sensorium.v1.TextService/Rerank": (models.TASK_RERANK,),
        "/sensorium.v1.TextService/Classify": (models.TASK_CLASSIFY_TEXT, models.TASK_ZERO_SHOT_CLASSIFY_TEXT),
        "/sensorium.v1.TextService/ClassifyTokens": (models.TASK_CLASSIFY_TOKENS,),
        "/sensorium.v1.TextService/AnswerQuestion": (models.TASK_ANSWER_QUESTION,),
        "/sensorium.v1.TextService/FillMask": (models.TASK_FILL_MASK,),
        "/sensorium.v1.TextService/Summarize": (models.TASK_SUMMARIZE,),
        "/sensorium.v1.TextService/StreamSummarize": (models.TASK_SUMMARIZE,),
        "/sensorium.v1.TextService/Translate": (models.TASK_TRANSLATE,),
        "/sensorium.v1.TextService/StreamTranslate": (models.TASK_TRANSLATE,),
        "/sensorium.v1.TextService/Tokenize": (models.TASK_TOKENIZE,),
        "/sensorium.v1.TextService/Detokenize": (models.TASK_TOKENIZE,),
        "/sensorium.v1.VisionService/ClassifyImage": (
            models.TASK_CLASSIFY_IMAGE,
            models.TASK_ZERO_SHOT_CLASSIFY_IMAGE,
        ),
        "/sensorium.v1.VisionService/DetectObjects": (
            models.TASK_DETECT_OBJECTS,
            models.TASK_ZERO_SHOT_DETECT_OBJECTS,
        ),
        "/sensorium.v1.VisionService/SegmentImage": (models.TASK_SEGMENT_IMAGE,),
        "/sensorium.v1.VisionService/EstimateDepth": (models.TASK_ESTIMATE_DEPTH,),
        "/sensorium.v1.VisionService/TransformImage": (models.TASK_TRANSFORM_IMAGE,),
        "/sensorium.v1.VisionService/EmbedImage": (models.TASK_EMBED_IMAGE,),
        "/sensorium.v1.SpeechService/Transcribe": (models.TASK_TRANSCRIBE,),
        "/sensorium.v1.SpeechService/StreamTranscribe": (models.TASK_STREAM_TRANSCRIBE,),
        "/sensorium.v1.SpeechService/Synthesize": (models.TASK_SYNTHESIZE,),
        "/sensorium.v1.SpeechService/StreamSynthesize": (models.TASK_SYNTHESIZE,),
        "/sensorium.v1.SpeechService/ClassifyAudio": (
            models.TASK_CLASSIFY_AUDIO,
            models.TASK_ZERO_SHOT_CLASSIFY_AUDIO,
        ),
        "/sensorium.v1.SpeechService/EmbedAudio": (models.TASK_EMBED_AUDIO,),
        "/sensorium.v1.MultimodalService/Generate": (models.TASK_GENERATE_MULTIMODAL,),
        "/sensorium.v1.MultimodalService/StreamGenerate": (models.TASK_GENERATE_MULTIMODAL,),
        "/sensorium.v1.MultimodalService/Caption": (models.TASK_CAPTION,),
        "/sensorium.v1.MultimodalService/StreamCaption": (models.TASK_CAPTION,),
        "/sensorium.v1.MultimodalService/AnswerImageQuestion": (models.TASK_ANSWER_IMAGE_QUESTION,),
        "/sensorium.v1.MultimodalService/StreamAnswerImageQuestion": (models.TASK_ANSWER_IMAGE_QUESTION,),
        "/sensorium.v1.MultimodalService/AnswerDocumentQuestion": (models.TASK_ANSWER_DOCUMENT_QUESTION,),
        "/sensorium.v1.MultimodalService/StreamAnswerDocumentQuestion": (models.TASK_ANSWER_DOCUMENT_QUESTION,),
    }
)
"""Tasks by full method name, as gRPC writes it. A model with any one of a method's tasks serves the method."""


@dataclass(frozen=True)
class Method:
    """One RPC that runs a model.

    `name` is the full method name, `service` the full name of its service (which is also its health entry).
    `request_is_stream` tells that the caller sends a stream, whose first message holds `config`. `resumable` tells
    that the response is a stream of generation events and the request takes `parameters.seed` and `delivered`.
    """

    name: str
    service: str
    tasks: tuple["models.Task.ValueType", ...]
    request_type: type[Message]
    response_type: type[Message]
    request_is_stream: bool
    response_is_stream: bool
    resumable: bool


def _is_resumable(method: MethodDescriptor) -> bool:
    request: Descriptor = method.input_type
    return method.server_streaming and "delivered" in request.fields_by_name


def _methods() -> Iterator[Method]:
    for service in SERVICES:
        for method in service.methods:
            name = f"/{service.full_name}/{method.name}"
            yield Method(
                name=name,
                service=service.full_name,
                tasks=TASKS_BY_METHOD[name],
                request_type=GetMessageClass(method.input_type),
                response_type=GetMessageClass(method.output_type),
                request_is_stream=method.client_streaming,
                response_is_stream=method.server_streaming,
                resumable=_is_resumable(method),
            )


METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _methods()})
"""Every RPC that runs a model, by full method name."""
