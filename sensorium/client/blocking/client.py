"""The blocking client."""

from typing import Self

from sensorium.client.blocking.connection import BlockingService, Connection
from sensorium.client.blocking.generation import TextService
from sensorium.client.contract import ModelRpcs, MultimodalRpcs, SpeechRpcs, VisionRpcs
from sensorium.client.retry import DEFAULT_RETRY, Retry
from sensorium.client.settings import DEFAULT_MESSAGE_BYTES, DEFAULT_TARGET, Settings
from sensorium.client.tls import TLS


class VisionService(BlockingService, VisionRpcs):
    """Everything that reads images."""


class SpeechService(BlockingService, SpeechRpcs):
    """Everything that hears or speaks."""


class MultimodalService(BlockingService, MultimodalRpcs):
    """Everything that reads text and media together."""


class ModelService(BlockingService, ModelRpcs):
    """What is served, and what it can do."""


class Client:
    """A connection to a gateway or a service. Safe to share between threads; close it, or use it in a `with`.

    Every RPC is a method of `text`, `vision`, `speech`, `multimodal` or `models`. It takes the request message and, by
    keyword, the `CallOptions`; it raises the classes of `sensorium.errors` and nothing of gRPC.

    Args:
        target: a gRPC target such as `host:port` or `dns:///host:port`.
        model: named in each request that names none itself.
        timeout: seconds after which a call fails, if the call does not say otherwise. Default: never.
        tls: secures the channel. Default: clear text.
        token: sent as bearer token. Over clear text only to this machine, unless `plaintext_token`.
        plaintext_token: sends the token in clear text, for a network that is trusted itself.
        message_bytes: largest message, either way.
        retry: which failures are tried again. None: none.

    Raises:
        ValueError: an argument is out of range, a file of `tls` holds no PEM, or the token would travel in clear text.
        OSError: a file of `tls` cannot be read.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        model: str = "",
        timeout: float | None = None,
        tls: TLS | None = None,
        token: str | None = None,
        plaintext_token: bool = False,
        message_bytes: int = DEFAULT_MESSAGE_BYTES,
        retry: Retry | None = DEFAULT_RETRY,
    ) -> None:
        settings = Settings(
            target=target,
            model=model,
            timeout=timeout,
            tls=tls,
            token=token,
            plaintext_token=plaintext_token,
            message_bytes=message_bytes,
            retry=retry,
        )
        self._connection = Connection(settings)
        self.text = TextService(self._connection)
        self.vision = VisionService(self._connection)
        self.speech = SpeechService(self._connection)
        self.multimodal = MultimodalService(self._connection)
        self.models = ModelService(self._connection)

    def close(self) -> None:
        """Closes the connection, which cancels every call still running. May be repeated."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
