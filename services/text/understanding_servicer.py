"""The RPCs of TextService that read once and answer, over plain values."""

from typing import Any, TypeVar

from sensorium.v1 import text_pb2 as pb
from services.handlers import task_not_supported
from services.served_model import ServedModel
from services.text.understanding_conversion import embed_ask, embed_response
from services.text.verb_set import TextVerbs

Verb = TypeVar("Verb")


class UnderstandingServicer:
    """Each RPC converts, asks its verb, and converts back."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self.verbs: TextVerbs | None = None

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """Embeds texts as vectors."""
        verb = self._able("Embed", self._ready(request.model).embedder)
        answer = await verb.embed(embed_ask(request, context.time_remaining()))
        return embed_response(answer, self._served.identity)

    def _ready(self, model: str) -> TextVerbs:
        self._served.require(model)
        assert self.verbs is not None
        return self.verbs

    def _able(self, rpc: str, verb: Verb | None) -> Verb:
        if verb is None:
            raise task_not_supported(rpc, self._served.name)
        return verb
