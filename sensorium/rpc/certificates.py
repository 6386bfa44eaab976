"""The TLS files of a server, which may be replaced while it runs."""

import logging
import ssl
from pathlib import Path

from sensorium.rpc.settings import ServerSettings

_log = logging.getLogger("sensorium.rpc")

_Contents = tuple[bytes, bytes, bytes | None]


def server_tls(settings: ServerSettings) -> ssl.SSLContext | None:
    """Returns what to serve TLS with, or None for plaintext.

    The files are looked at again at each handshake: a renewed certificate counts for every connection made after it.

    Raises:
        OSError: a file cannot be read, or holds no key or certificate.
    """
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    files = _Files(settings.tls_key_file, settings.tls_certificate_file, settings.tls_client_ca_file)
    front = files.current()

    def choose(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = files.current()

    front.sni_callback = choose  # asked at each handshake, names or not
    return front


class _Files:
    def __init__(self, key: Path, certificate: Path, authorities: Path | None) -> None:
        self._key = key
        self._certificate = certificate
        self._authorities = authorities
        self._last = self._read()
        self._context = self._made()

    def current(self) -> ssl.SSLContext:
        """Returns what is in the files now; what was in them last where they are not right."""
        try:
            now = self._read()
            if now == self._last:
                return self._context
            made = self._made()
        except OSError as error:
            # A key and a certificate that do not belong together, as while they are being replaced, come here too.
            _log.warning("the TLS files cannot be used, what was read last stands: %s", error)
            return self._context
        self._last, self._context = now, made
        _log.info("the TLS files have changed")
        return made

    def _read(self) -> _Contents:
        authorities = None if self._authorities is None else self._authorities.read_bytes()
        return self._key.read_bytes(), self._certificate.read_bytes(), authorities

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        # A session that goes on would not be asked for its certificate again.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.load_cert_chain(self._certificate, self._key)
        if self._authorities is not None:
            context.load_verify_locations(self._authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
