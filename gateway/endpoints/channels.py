"""Opens HTTP/2 channels to endpoints, with TLS contexts that follow replaced files."""

import logging
import ssl
from pathlib import Path

from gateway.discovery import Member
from gateway.endpoints.settings import EndpointSettings
from sensorium.rpc.http2.channel import Channel

_log = logging.getLogger("gateway")


class Channels:
    """Opens channels, with TLS if the settings name a CA file."""

    def __init__(self, settings: EndpointSettings) -> None:
        """Reads the TLS files.

        Raises:
            OSError: a file cannot be read, or holds no valid key or certificate.
        """
        self._message_bytes = settings.message_bytes
        self._name = settings.endpoint_tls_name
        self._ca_file = settings.endpoint_tls_ca_file
        self._key = settings.endpoint_tls_key_file
        self._certificate = settings.endpoint_tls_certificate_file
        self._files = self._read()
        self._tls = self._context()

    def open(self, member: Member) -> Channel:
        """Returns a channel to the member. It connects at its first call."""
        name = None if self._name is None else self._name.replace("{pool}", member.pool)
        return Channel(member.address, self._message_bytes, self._tls, name)

    def renewed(self) -> bool:
        """Returns whether the TLS files changed since the last call, and if so loads them for channels opened later."""
        try:
            files = self._read()
            if files == self._files:
                return False
            self._tls = self._context()
        except OSError as error:
            # Also raised for a key that does not fit the certificate, as while the two files are being replaced.
            _log.warning("the TLS files for endpoints cannot be used, the previous ones stay in use: %s", error)
            return False
        self._files = files
        return True

    def _read(self) -> tuple[bytes | None, ...]:
        files: tuple[Path | None, ...] = (self._ca_file, self._key, self._certificate)
        return tuple(None if path is None else path.read_bytes() for path in files)

    def _context(self) -> ssl.SSLContext | None:
        if self._ca_file is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        # Trust every CA in the file, intermediate ones too, not only roots.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self._ca_file)
        if self._certificate is not None:
            context.load_cert_chain(self._certificate, self._key)
        return context
