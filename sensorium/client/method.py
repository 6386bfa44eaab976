"""An RPC on the wire."""

from dataclasses import dataclass
from typing import Generic

from sensorium.client.call import Q, R, with_model


@dataclass(frozen=True)
class Method(Generic[Q, R]):
    """Full name of an RPC, such as `/sensorium.v1.TextService/Generate`, and what it carries."""

    name: str
    request: type[Q]
    response: type[R]

    def addressed(self, request: Q, model: str) -> Q:
        """Returns `request`, or, where it names no model, a copy that names `model`.

        Raises:
            TypeError: it is not of the RPC's own class. Its bytes would be read as something else.
        """
        if not isinstance(request, self.request):
            rpc, wanted = self.name.rpartition("/")[2], self.request.__name__
            raise TypeError(f"{rpc} takes {wanted}, not {type(request).__name__}.")
        return with_model(request, model)

    def serialize(self, request: Q) -> bytes:
        """Returns `request` as it travels."""
        return request.SerializeToString()

    def parse(self, data: bytes) -> R:
        """Returns the response in `data`."""
        return self.response.FromString(data)
