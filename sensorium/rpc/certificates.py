"""The TLS files of a server, which may be replaced while it runs."""

import logging
from pathlib import Path
from typing import Any

import grpc

from sensorium.rpc.settings import ServerSettings

_log = logging.getLogger("sensorium.rpc")


def server_credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    """Returns the credentials to serve TLS with, or None for plaintext.

    The files are looked at again at each handshake: a renewed certificate counts for every connection made after it.

    Raises:
        OSError: a file cannot be read.
    """
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    files = _Files(settings.tls_key_file, settings.tls_certificate_file, settings.tls_client_ca_file)
    # As typed, it may not answer that nothing has changed.
    dynamic: Any = grpc.dynamic_ssl_server_credentials
    mutual = settings.tls_client_ca_file is not None
    return dynamic(files.first, files.changed, require_client_authentication=mutual)


class _Files:
    def __init__(self, key: Path, certificate: Path, authorities: Path | None) -> None:
        self._key = key
        self._certificate = certificate
        self._authorities = authorities
        self._last = self._read()
        self.first = _configuration(*self._last)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns what is in the files now, or None where it is what it was. Called by gRPC in a thread of its own."""
        try:
            now = self._read()
        except OSError as error:
            _log.warning("the TLS files cannot be read, what was read last stands: %s", error)
            return None
        if now == self._last:
            return None
        # A key and a certificate that do not belong together, as while they are being replaced, are refused by gRPC,
        # which then goes on with the last ones.
        self._last = now
        _log.info("the TLS files have changed")
        return _configuration(*now)

    def _read(self) -> tuple[bytes, bytes, bytes | None]:
        authorities = None if self._authorities is None else self._authorities.read_bytes()
        return self._key.read_bytes(), self._certificate.read_bytes(), authorities


def _configuration(key: bytes, certificate: bytes, authorities: bytes | None) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authorities)
