"""Channels to endpoints."""

import logging

import grpc

from gateway.discovery import Member
from gateway.endpoint_settings import EndpointSettings
from sensorium import rpc

_log = logging.getLogger("gateway")

_OPTIONS = (
    # Connections are shared between channels by default, and with them their backoff.
    ("grpc.use_local_subchannel_pool", 1),
    # Minutes by default: an endpoint that came back would be found long after it did.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # In spite of its name the time that an attempt may take: connecting, TLS and the peer's first frame.
    ("grpc.min_reconnect_backoff_ms", 2000),
    # Endpoints are peers; a proxy in the environment is for the world outside.
    ("grpc.enable_http_proxy", 0),
)


class Channels:
    """Opens channels, by TLS where the settings give the endpoints' authorities."""

    def __init__(self, settings: EndpointSettings) -> None:
        """Reads the TLS files.

        Raises:
            OSError: one cannot be read.
        """
        self._options = [*rpc.channel_options(settings.message_bytes), *_OPTIONS]
        self._name = settings.endpoint_tls_name
        self._files = (
            settings.endpoint_tls_ca_file,
            settings.endpoint_tls_key_file,
            settings.endpoint_tls_certificate_file,
        )
        self._last = self._read()

    def open(self, member: Member) -> grpc.aio.Channel:
        """Returns a channel, which connects when it is first used."""
        authorities, key, certificate = self._last
        if authorities is None:
            return grpc.aio.insecure_channel(member.address, self._options)
        options = [*self._options]
        if self._name is not None:
            options.append(("grpc.ssl_target_name_override", self._name.replace("{pool}", member.pool)))
        return grpc.aio.secure_channel(
            member.address, grpc.ssl_channel_credentials(authorities, key, certificate), options
        )

    def renewed(self) -> bool:
        """Returns whether the TLS files were replaced since this was last asked. Later channels use the new ones."""
        try:
            now = self._read()
        except OSError as error:
            _log.warning("the TLS files for endpoints cannot be read, what was read last stands: %s", error)
            return False
        changed = now != self._last
        self._last = now
        return changed

    def _read(self) -> tuple[bytes | None, ...]:
        return tuple(None if path is None else path.read_bytes() for path in self._files)
