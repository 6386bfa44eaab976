"""Lets another endpoint continue a stream of generated text whose endpoint was lost (ADR 28).

Sampling depends only on the seed and the token's position, and a service rebuilds all other state of a stream from the
tokens already delivered. So the request is sent again with these tokens and the seed in force, and the new endpoint
generates what the lost one would have sent.
"""

from types import TracebackType
from typing import Any

from google.protobuf.message import DecodeError

from gateway.relay.kept_bytes import KeptBytes
from sensorium.tasks import Method
from sensorium.v1.common_pb2 import ModelIdentity

# Upper bound of the size of the bytes object and of the list entry that hold a message.
_OVERHEAD_BYTES = 64


class CannotGoOn(Exception):
    """An endpoint refused to continue a stream, or what was sent of the stream cannot be parsed."""


class Resumption:
    """The messages sent to the caller of one resumable stream. The memory is released at the exit of `with`.

    Messages are parsed only after an endpoint was lost.
    """

    def __init__(self, method: Method, request: bytes, budget: KeptBytes) -> None:
        self._method = method
        self._request = request
        self._budget = budget
        self._messages: list[bytes] = []
        self._bytes = 0
        self._complete = True

    def hindrance(self, most_bytes: int) -> str:
        """Returns why the stream cannot be resumed with requests of at most `most_bytes`; empty if it can.

        `not_kept`: there was no memory to keep what was sent. `too_large`: the request with the delivered tokens is
        too large for a message.
        """
        if not self._complete:
            return "not_kept"
        try:
            return "too_large" if len(self.request()) > most_bytes else ""
        except CannotGoOn:
            return ""  # `request` raises it again where it is handled

    @property
    def model(self) -> ModelIdentity | None:
        """Name and revision of the model that began the stream; None if `started` was not sent or cannot be parsed."""
        try:
            first = next(self._events(), None)
        except CannotGoOn:
            return None
        return first.started.model if first is not None and first.HasField("started") else None

    def keep(self, message: bytes) -> None:
        """Keeps a message that was sent to the caller. If the budget has no room for it, all messages are dropped."""
        size = len(message) + _OVERHEAD_BYTES
        if self._complete and self._budget.take(size):
            self._bytes += size
            self._messages.append(message)
        elif self._complete:
            self._complete = False
            self._release()

    def request(self) -> bytes:
        """Returns the serialized request for the rest of the stream.

        Raises:
            CannotGoOn: a message of the lost endpoint cannot be parsed.
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
        """Checks the first message of the endpoint that continues; the caller does not get it, as it has had one.

        Raises:
            CannotGoOn: it is not `started`, or is of another model or revision.
        """
        again = self._event(message)
        if not again.HasField("started") or self.model != again.started.model:
            raise CannotGoOn

    def __enter__(self) -> "Resumption":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _events(self) -> Any:
        return map(self._event, self._messages)

    def _event(self, message: bytes) -> Any:
        try:
            return self._method.response_type.FromString(message)
        except DecodeError as error:
            raise CannotGoOn from error

    def _release(self) -> None:
        self._budget.give(self._bytes)
        self._bytes = 0
        self._messages.clear()
