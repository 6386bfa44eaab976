"""The channel of an awaiting client."""

from grpc import aio

from sensorium.client.call import Call, CallOptions
from sensorium.client.settings import Settings


class AsyncConnection:
    """One channel and what holds for every call over it. Belongs to the event loop of its first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._credentials = settings.tls.credentials() if settings.tls else None
        self._channel: aio.Channel | None = None
        self._closed = False

    @property
    def channel(self) -> aio.Channel:
        """The channel, opened on first use, as only then the event loop is known.

        Raises:
            RuntimeError: the client was closed.
        """
        if self._closed:
            raise RuntimeError("The client is closed.")
        if self._channel is None:
            self._channel = self._open()
        return self._channel

    def _open(self) -> aio.Channel:
        settings = self.settings
        options = settings.channel_options()
        if self._credentials is None:
            return aio.insecure_channel(settings.target, options)
        return aio.secure_channel(settings.target, self._credentials, options)

    def call(self, options: CallOptions) -> Call:
        """Returns the call of `options` under the client's settings."""
        return Call.of(options, self.settings.timeout, self.settings.metadata())

    async def close(self) -> None:
        """Closes the channel, which cancels every call still running. May be repeated."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()


class AsyncService:
    """A service over a connection; its RPCs come from a class of `contract`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
