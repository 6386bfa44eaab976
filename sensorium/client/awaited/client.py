"""The client for asyncio."""

from typing import Self

from sensorium.client.awaited.connection import AsyncConnection, AsyncService
from sensorium.client.awaited.generation import AsyncTextService
from sensorium.client.contract import ModelRpcs, MultimodalRpcs, SpeechRpcs, VisionRpcs
from sensorium.client.retry import DEFAULT_RETRY, Retry
from sensorium.client.settings import DEFAULT_MESSAGE_BYTES, DEFAULT_TARGET, Settings
from sensorium.client.tls import TLS


class AsyncVisionService(AsyncService, VisionRpcs):
    """Everything that reads images."""


class AsyncSpeechService(AsyncService, SpeechRpcs):
    """Everything that hears or speaks."""


class AsyncMultimodalService(AsyncService, MultimodalRpcs):
    """Everything that reads text and media together."""


class AsyncModelService(AsyncService, ModelRpcs):
    """What is served, and what it can do."""


class AsyncClient:
    """Like `Client`, for one event loop; close it, or use it in an `async with`.

    It takes the arguments of `Client` and raises what that raises. Its methods are awaited; streams are asynchronous
    iterators, and nothing of them is awaited before their first event. It may be made before the loop runs.
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
        self._connection = AsyncConnection(settings)
        self.text = AsyncTextService(self._connection)
        self.vision = AsyncVisionService(self._connection)
        self.speech = AsyncSpeechService(self._connection)
        self.multimodal = AsyncMultimodalService(self._connection)
        self.models = AsyncModelService(self._connection)

    async def close(self) -> None:
        """Closes the connection, which cancels every call still running. May be repeated."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
