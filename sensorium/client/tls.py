"""How a channel is secured."""

from dataclasses import dataclass
from pathlib import Path

import grpc

from sensorium import pem


@dataclass(frozen=True, kw_only=True)
class TLS:
    """TLS towards the server. All defaults: the system's certificate authorities, no client certificate.

    The files are PEM and are read when the client is made; one that cannot be read raises its OSError, and one that
    holds something else a ValueError.

    Raises:
        ValueError: a client certificate without its key, or a key without its certificate.
    """

    ca_file: str | Path | None = None
    cert_file: str | Path | None = None
    key_file: str | Path | None = None
    server_name: str | None = None
    """Name expected in the server's certificate where it is not the host of the target."""

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("A client certificate needs both cert_file and key_file.")

    def credentials(self) -> grpc.ChannelCredentials:
        """Returns the credentials of the files, which it reads.

        Raises:
            OSError: one of them cannot be read.
            ValueError: one of them does not hold what it should.
        """
        authorities, key, certificate = map(_read, (self.ca_file, self.key_file, self.cert_file))
        if self.ca_file is not None:
            pem.check_authorities(self.ca_file)
        if self.cert_file is not None and self.key_file is not None:
            pem.check_pair(self.cert_file, self.key_file)
        return grpc.ssl_channel_credentials(authorities, key, certificate)

    def options(self) -> list[tuple[str, str | int]]:
        """Returns the channel options that go with the credentials."""
        return [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []


def _read(path: str | Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
