"""An RPC on the wire."""

from dataclasses import dataclass
from typing import Generic

from sensorium.client.call import Q, R


@dataclass(frozen=True)
class Method(Generic[Q, R]):
    """Full name of an RPC, such as `/sensorium.v1.TextService/Generate`, and what it carries."""

    name: str
    request: type[Q]
    response: type[R]

    def serialize(self, request: Q) -> bytes:
        """Returns `request` as it travels."""
        return request.SerializeToString()

    def parse(self, data: bytes) -> R:
        """Returns the response in `data`."""
        return self.response.FromString(data)
