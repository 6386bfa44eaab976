"""Channels to endpoints."""

import logging
import ssl
from pathlib import Path

from gateway.discovery import Member
from gateway.endpoint_settings import EndpointSettings
from sensorium.rpc.http2.channel import Channel

_log = logging.getLogger("gateway")


class Channels:
    """Opens channels, by TLS where the settings give the endpoints' authorities."""

    def __init__(self, settings: EndpointSettings) -> None:
        """Reads the TLS files.

        Raises:
            OSError: one cannot be read, or holds no key or certificate.
        """
        self._message_bytes = settings.message_bytes
        self._name = settings.endpoint_tls_name
        self._authorities = settings.endpoint_tls_ca_file
        self._key = settings.endpoint_tls_key_file
        self._certificate = settings.endpoint_tls_certificate_file
        self._last = self._read()
        self._tls = self._made()

    def open(self, member: Member) -> Channel:
        """Returns a channel, which connects when it is first used."""
        name = None if self._name is None else self._name.replace("{pool}", member.pool)
        return Channel(member.address, self._message_bytes, self._tls, name)

    def renewed(self) -> bool:
        """Returns whether the TLS files were replaced since this was last asked. Later channels use the new ones."""
        try:
            now = self._read()
            if now == self._last:
                return False
            self._tls = self._made()
        except OSError as error:
            # A key and a certificate that do not belong together, as while they are being replaced, come here too.
            _log.warning("the TLS files for endpoints cannot be used, what was read last stands: %s", error)
            return False
        self._last = now
        return True

    def _read(self) -> tuple[bytes | None, ...]:
        files: tuple[Path | None, ...] = (self._authorities, self._key, self._certificate)
        return tuple(None if path is None else path.read_bytes() for path in files)

    def _made(self) -> ssl.SSLContext | None:
        if self._authorities is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        # Whoever is given is trusted, an authority between the first and the endpoints too.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self._authorities)
        if self._certificate is not None:
            context.load_cert_chain(self._certificate, self._key)
        return context
