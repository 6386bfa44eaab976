"""The channel of a blocking client."""

import grpc

from sensorium.client.call import Call, CallOptions
from sensorium.client.settings import Settings


class Connection:
    """One channel and what holds for every call over it. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        options = settings.channel_options()
        if settings.tls is None:
            self._channel = grpc.insecure_channel(settings.target, options)
        else:
            self._channel = grpc.secure_channel(settings.target, settings.tls.credentials(), options)
        self._closed = False

    @property
    def channel(self) -> grpc.Channel:
        """The channel.

        Raises:
            RuntimeError: the client was closed.
        """
        if self._closed:
            raise RuntimeError("The client is closed.")
        return self._channel

    def call(self, options: CallOptions) -> Call:
        """Returns the call of `options` under the client's settings."""
        return Call.of(options, self.settings.timeout, self.settings.metadata())

    def close(self) -> None:
        """Closes the channel, which cancels every call still running. May be repeated."""
        self._closed = True
        self._channel.close()


class BlockingService:
    """A service over a connection; its RPCs come from a class of `contract`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
