"""Metadata, codes and deadlines as gRPC writes them into headers."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from math import ceil
from urllib.parse import quote

from grpc import StatusCode

Pairs = tuple[tuple[str, str | bytes], ...]
Header = tuple[bytes, bytes]

ENCODINGS = b"identity,deflate,gzip"

_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MOST_UNITS = 99_999_999
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_NAME = re.compile(rb":?[0-9a-z_.-]+")
_TEXT = re.compile(rb"[\x20-\x7e\x80-\xff\t]*")
_TRANSPORT = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_OWN = frozenset({"content-type", "te"})
# What a percent-encoded message leaves as it is: printable ASCII but for the percent sign itself.
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class Malformed(ValueError):
    """Headers are not what HTTP/2 or gRPC allow; the text says why."""


def split(headers: Iterable[Header]) -> tuple[dict[bytes, bytes], list[Header]]:
    """Returns the headers whose names begin with a colon, and the others.

    Raises:
        Malformed: HTTP/2 forbids them.
    """
    pseudo: dict[bytes, bytes] = {}
    others: list[Header] = []
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _TEXT.fullmatch(value) or name in _TRANSPORT:
            raise Malformed("a header is not allowed")
        if not name.startswith(b":"):
            others.append((name, value))
        elif others or name in pseudo:
            raise Malformed("the headers are out of order")
        else:
            pseudo[name] = value
    return pseudo, others


def received(headers: Iterable[Header]) -> Pairs:
    """Returns the metadata among headers that came.

    Raises:
        Malformed: binary metadata are not in base64.
    """
    found: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        key = name.decode("ascii")
        if key in _OWN or (key.startswith("grpc-") and not key.endswith("-bin")):
            continue
        if key.endswith("-bin"):
            found += [(key, _binary(part)) for part in value.split(b",")]
        else:
            found.append((key, value.decode("latin-1")))
    return tuple(found)


def sent(metadata: Iterable[tuple[str, str | bytes]]) -> list[Header]:
    """Returns metadata as headers.

    Raises:
        ValueError: a key or a value is not allowed.
    """
    headers: list[Header] = []
    for key, value in metadata:
        name = key.encode("ascii")
        if name.endswith(b"-bin"):
            text = b64encode(value if isinstance(value, bytes) else value.encode()).rstrip(b"=")
        else:
            text = value if isinstance(value, bytes) else value.encode("ascii")
        if not _NAME.fullmatch(name) or not _TEXT.fullmatch(text) or name.startswith((b":", b"grpc-timeout")):
            raise ValueError(f"{key} cannot be sent as metadata")
        headers.append((name, text))
    return headers


def trailers(code: StatusCode, details: str, metadata: Iterable[tuple[str, str | bytes]]) -> list[Header]:
    """Returns the headers that end a call."""
    headers = [(b"grpc-status", str(code.value[0]).encode())]
    if details:
        headers.append((b"grpc-message", quote(details, safe=_PLAIN).encode()))
    return headers + sent(metadata)


def seconds_of(timeout: bytes) -> float:
    """Returns the seconds that `grpc-timeout` gives.

    Raises:
        Malformed: it is not written as gRPC writes it.
    """
    found = _TIMEOUT.fullmatch(timeout.decode("latin-1"))
    if found is None:
        raise Malformed("grpc-timeout is not a number of at most eight digits and its unit")
    return int(found[1]) * _UNITS[found[2]]


def timeout_of(seconds: float) -> bytes:
    """Returns `grpc-timeout` for so many seconds, in the finest unit that has room for them."""
    for unit, size in (("u", 1e-6), ("m", 1e-3), ("S", 1.0)):
        count = max(ceil(seconds / size), 1)
        if count <= _MOST_UNITS:
            return f"{count}{unit}".encode()
    return f"{_MOST_UNITS}S".encode()


def _binary(value: bytes) -> bytes:
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError:
        raise Malformed("binary metadata are not in base64") from None
