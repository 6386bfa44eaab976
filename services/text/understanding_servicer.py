"""The RPCs of TextService that read once and answer, over plain values."""

from typing import Any

from sensorium.v1 import text_pb2 as pb
from services.text.understanding_conversion import embed_ask, embed_response
from services.text.verb_set import TextVerbs
from services.verb_servicer import VerbServicer


class UnderstandingServicer(VerbServicer[TextVerbs]):
    """Each RPC converts, asks its verb, and converts back."""

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """Embeds texts as vectors."""
        verb = self._able("Embed", self._ready(request.model).embedder)
        answer = await verb.embed(embed_ask(request, context.time_remaining()))
        return embed_response(answer, self._served.identity)
