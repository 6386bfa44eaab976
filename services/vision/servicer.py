"""VisionService over plain values: each RPC converts, asks its verb, and converts back."""

from typing import Any

from sensorium.v1 import vision_pb2 as pb
from services.verb_servicer import VerbServicer
from services.vision.classify_conversion import classify_ask, classify_response
from services.vision.verb_set import VisionVerbs


class VisionServicer(VerbServicer[VisionVerbs]):
    """The RPCs of VisionService that this model serves; `services.handlers` refuses the others."""

    async def ClassifyImage(self, request: pb.ClassifyImageRequest, context: Any) -> pb.ClassifyImageResponse:
        """Classifies images."""
        verb = self._able("ClassifyImage", self._ready(request.model).classifier)
        answer = await verb.classify(classify_ask(request, context.time_remaining()))
        return classify_response(answer, self._served.identity)
