"""Converts media of requests, and the requests that images and recordings have in common, to plain values."""

import time
from collections.abc import Iterable

from google.protobuf.message import Message

from sensorium.v1 import common_pb2 as common
from sensorium.v1 import speech_pb2, vision_pb2
from services.enums import unknown_enum_numbers
from services.media.ask import ClassifyAsk, EmbedAsk, MediaInput
from services.sent_media import SentMedia


def sent_media(media: common.Media, noun: str) -> SentMedia:
    """Returns one image or recording; `noun` is what violations call it."""
    source = media.WhichOneof("source")
    send = f"send the {noun}'s bytes as `data`"
    wrong = {"uri": f"is a URI, and this service fetches none: {send}", None: f"has no data: {send}"}.get(source, "")
    return SentMedia(media.data, media.mime_type, wrong)


def images_input(request: Message, images: Iterable[common.Media], seconds: float | None) -> MediaInput:
    """Returns the common part of requests with images; `seconds` is the time left to the deadline."""
    return _input(request, images, "image", seconds)


def recordings_input(request: Message, recordings: Iterable[common.Media], seconds: float | None) -> MediaInput:
    """Returns the common part of requests with recordings; `seconds` is the time left to the deadline."""
    return _input(request, recordings, "recording", seconds)


def classify_ask(
    request: vision_pb2.ClassifyImageRequest | speech_pb2.ClassifyAudioRequest, sent: MediaInput
) -> ClassifyAsk:
    """Returns the request as plain values."""
    return ClassifyAsk(
        input=sent,
        labels=list(request.labels),
        hypothesis_template=request.hypothesis_template if request.HasField("hypothesis_template") else None,
        multi_label=request.multi_label if request.HasField("multi_label") else None,
        top_k=request.top_k if request.HasField("top_k") else None,
        raw_scores=request.raw_scores,
    )


def embed_ask(request: vision_pb2.EmbedImageRequest | speech_pb2.EmbedAudioRequest, sent: MediaInput) -> EmbedAsk:
    """Returns the request as plain values."""
    return EmbedAsk(
        input=sent,
        texts=list(request.texts),
        normalize=request.normalize if request.HasField("normalize") else True,
        dimension_count=request.dimension_count if request.HasField("dimension_count") else None,
    )


def _input(request: Message, media: Iterable[common.Media], noun: str, seconds: float | None) -> MediaInput:
    return MediaInput(
        media=[sent_media(each, noun) for each in media],
        deadline=None if seconds is None else time.monotonic() + seconds,
        violations=tuple(unknown_enum_numbers(request)),
    )
