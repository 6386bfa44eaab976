"""Implements VisionService: each RPC converts its request, calls a verb and converts the result."""

import asyncio
from typing import Any

from sensorium.v1 import vision_pb2 as pb
from services.media_conversion import classify_ask, embed_ask, images_input
from services.verb_servicer import VerbServicer
from services.vision.classify_conversion import classify_response
from services.vision.depth.conversion import depth_ask, depth_response
from services.vision.detection.conversion import detect_ask, detect_response
from services.vision.embed_conversion import embed_response
from services.vision.segmentation.conversion import segment_ask, segment_response
from services.vision.transformation.conversion import transform_ask, transform_response
from services.vision.verb_set import VisionVerbs


class VisionServicer(VerbServicer[VisionVerbs]):
    """The RPCs of VisionService that this model serves; `services.handlers` refuses the others.

    Responses that may hold hundreds of thousands of values are built in a thread, not on the event loop.
    """

    async def ClassifyImage(self, request: pb.ClassifyImageRequest, context: Any) -> pb.ClassifyImageResponse:
        """Classifies images."""
        verb = self._able("ClassifyImage", self._ready(request.model).classifier)
        self._require_labels("ClassifyImage", wanted=verb.takes_labels, sent=bool(request.labels))
        sent = images_input(request, request.images, context.time_remaining())
        answer = await verb.classify(classify_ask(request, sent))
        return await asyncio.to_thread(classify_response, answer, self._served.identity)

    async def DetectObjects(self, request: pb.DetectObjectsRequest, context: Any) -> pb.DetectObjectsResponse:
        """Finds objects in images."""
        verb = self._able("DetectObjects", self._ready(request.model).detector)
        self._require_labels("DetectObjects", wanted=verb.takes_labels, sent=bool(request.labels))
        answer = await verb.detect(detect_ask(request, context.time_remaining()))
        return await asyncio.to_thread(detect_response, answer, self._served.identity)

    async def SegmentImage(self, request: pb.SegmentImageRequest, context: Any) -> pb.SegmentImageResponse:
        """Segments an image into regions."""
        verb = self._able("SegmentImage", self._ready(request.model).segmenter)
        answer = await verb.segment(segment_ask(request, context.time_remaining()))
        return await asyncio.to_thread(segment_response, answer, self._served.identity)

    async def EstimateDepth(self, request: pb.EstimateDepthRequest, context: Any) -> pb.EstimateDepthResponse:
        """Estimates the depth of every pixel."""
        verb = self._able("EstimateDepth", self._ready(request.model).depth_estimator)
        answer = await verb.estimate(depth_ask(request, context.time_remaining()))
        return depth_response(answer, self._served.identity)

    async def TransformImage(self, request: pb.TransformImageRequest, context: Any) -> pb.TransformImageResponse:
        """Makes a new image from an image."""
        verb = self._able("TransformImage", self._ready(request.model).transformer)
        answer = await verb.transform(transform_ask(request, context.time_remaining()))
        return transform_response(answer, self._served.identity)

    async def EmbedImage(self, request: pb.EmbedImageRequest, context: Any) -> pb.EmbedImageResponse:
        """Embeds images and texts as vectors."""
        verb = self._able("EmbedImage", self._ready(request.model).embedder)
        sent = images_input(request, request.images, context.time_remaining())
        answer = await verb.embed(embed_ask(request, sent))
        return await asyncio.to_thread(embed_response, answer, self._served.identity)
