"""Goes on with a stream of generated text at another endpoint, where the first one left it.

Draws depend on a request's seed and a token's position alone, and a service builds all other state of a stream anew
from the tokens delivered. So the request is sent again with these and the seed in force, and what comes behind them is
what the lost endpoint would have sent.
"""

from types import TracebackType
from typing import Any

from google.protobuf.message import DecodeError

from gateway.kept_bytes import KeptBytes
from sensorium.tasks import Method
from sensorium.v1.common_pb2 import ModelIdentity

# Of the list and the object that hold a message, on the safe side.
_OVERHEAD_BYTES = 64


class CannotGoOn(Exception):
    """An endpoint would not go on with a stream."""


class Resumption:
    """What the caller of one resumable stream was sent, kept from entry to exit of `with`.

    Messages are parsed only when an endpoint was lost.
    """

    def __init__(self, method: Method, request: bytes, room: KeptBytes) -> None:
        self._method = method
        self._request = request
        self._room = room
        self._messages: list[bytes] = []
        self._bytes = 0
        self._whole = True

    def hindrance(self, most_bytes: int) -> str:
        """Returns why no endpoint that takes messages of so many bytes can be asked to go on; empty if one can.

        `not_kept`: what was sent is not known any more; `too_large`: with it the request has outgrown a message.
        """
        if not self._whole:
            return "not_kept"
        try:
            return "too_large" if len(self.request()) > most_bytes else ""
        except CannotGoOn:
            return ""  # whoever is to ask is told so again

    @property
    def model(self) -> ModelIdentity | None:
        """The model and the revision of it that began the stream; None where what was sent does not tell."""
        try:
            first = next(self._events(), None)
        except CannotGoOn:
            return None
        return first.started.model if first is not None and first.HasField("started") else None

    def keep(self, message: bytes) -> None:
        """Takes a message that the caller was sent. Where there is no room for it, all are let go."""
        size = len(message) + _OVERHEAD_BYTES
        if self._whole and self._room.take(size):
            self._bytes += size
            self._messages.append(message)
        elif self._whole:
            self._whole = False
            self._let_go()

    def request(self) -> bytes:
        """Returns the request for everything behind what was sent.

        Raises:
            CannotGoOn: what the lost endpoint has sent cannot be read.
        """
        request: Any = self._method.request_type.FromString(self._request)
        known = {one.candidate_index: list(one.token_ids) for one in request.delivered}
        for event in self._events():
            if event.HasField("started"):
                request.parameters.seed = event.started.seed
            elif event.HasField("delta"):
                known.setdefault(event.delta.candidate_index, []).extend(event.delta.token_ids)
        del request.delivered[:]
        for index, token_ids in sorted(known.items()):
            request.delivered.add(candidate_index=index, token_ids=token_ids)
        return request.SerializeToString()

    def check(self, message: bytes) -> None:
        """Takes the first message of an endpoint that goes on; the caller has had its like, and is not sent it.

        Raises:
            CannotGoOn: it is of another model, or another revision of it, or does not begin a stream.
        """
        again = self._event(message)
        if not again.HasField("started") or self.model != again.started.model:
            raise CannotGoOn

    def __enter__(self) -> "Resumption":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()

    def _events(self) -> Any:
        return map(self._event, self._messages)

    def _event(self, message: bytes) -> Any:
        try:
            return self._method.response_type.FromString(message)
        except DecodeError as error:
            raise CannotGoOn from error

    def _let_go(self) -> None:
        self._room.give(self._bytes)
        self._bytes = 0
        self._messages.clear()
