"""Header compression, and header blocks that come in several frames. All limits on headers are here."""

from collections.abc import Iterable
from functools import lru_cache

from hpack import Decoder, HPACKError
from hpack.exceptions import OversizedHeaderListError
from hpack.hpack import decode_integer, encode_integer

from sensorium.rpc.http2.frames import END_HEADERS, ConnectionFault, ErrorCode
from sensorium.rpc.http2.metadata import Header

HEADER_LIST_BYTES = 16 * 1024
"""What all headers of a call take together at most, as HTTP/2 counts."""

# A block over the limit of a call is still read, so that the connection's table stays right, but not without end: so
# many bytes as it comes, and as many of what it stands for.
_BLOCK_BYTES = 64 * 1024
_TABLE_BYTES = 4096
# RFC 7541, section 4.2: the least size since the last block, and the last one.
_MOST_RESIZES = 2
_RESIZE, _RESIZE_MASK, _RESIZE_BITS = 0x20, 0xE0, 5
# RFC 7541, appendix A.
_STATUS_200 = b"\x88"
# The first block says that there is no table, which suits every size that the peer may allow.
_NO_TABLE = b"\x20"
# Of these there are few, and the same ones again and again; others would push them out of a proxy's table.
_REPEATED = frozenset(
    {
        *(b":method", b":scheme", b":path", b":authority", b"te", b"user-agent"),
        *(b":status", b"content-type", b"grpc-status", b"grpc-accept-encoding", b"x-sensorium-endpoint"),
    }
)
_UNINDEXED, _NEVER_INDEXED = b"\x00", b"\x10"


class HeaderBlocks:
    """The headers of one connection, both ways."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=_BLOCK_BYTES)
        self._decoder.max_allowed_table_size = _TABLE_BYTES
        self._no_table = _NO_TABLE
        self._stream = 0
        self._flags = 0
        self._pieces: list[bytes] = []
        self._bytes = 0

    @property
    def open(self) -> int:
        """The stream of a block that is not whole; 0 if there is none."""
        return self._stream

    def encode(self, headers: Iterable[Header]) -> bytes:
        """Returns a block, which must leave in the order in which blocks are made.

        It holds each header as it is. A table, of which the peer has the other half, would save some ninety bytes of a
        call, for three times the work.
        """
        no_table, self._no_table = self._no_table, b""
        return no_table + b"".join(_repeated(each) if each[0] in _REPEATED else _literal(each) for each in headers)

    def begin(self, stream: int, flags: int, piece: bytes) -> tuple[int, list[Header]] | None:
        """Takes the first frame of a block. Returns its flags and headers if it is whole.

        Raises:
            ConnectionFault: it cannot be read, is of no stream, or is much too large.
        """
        if not stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers for no stream")
        self._stream, self._flags, self._bytes = stream, flags, 0
        return self.add(flags, piece)

    def add(self, flags: int, piece: bytes) -> tuple[int, list[Header]] | None:
        """Takes a further frame; as `begin`."""
        if not self._stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "headers go on that were not begun")
        self._pieces.append(piece)
        self._bytes += len(piece)
        # An empty piece costs something too.
        if self._bytes > _BLOCK_BYTES or len(self._pieces) > 16:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the headers are too large")
        if not flags & END_HEADERS:
            return None
        block = b"".join(self._pieces)
        self._pieces.clear()
        self._stream = 0
        return self._flags, self._decoded(block)

    def _decoded(self, block: bytes) -> list[Header]:
        try:
            _require_few_resizes(block)
            return [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the headers are too large") from None
        except (HPACKError, IndexError, ValueError):
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "the headers cannot be read") from None


def _require_few_resizes(block: bytes) -> None:
    """Raises ConnectionFault where a block begins by resizing the table more often than there is reason to."""
    position = resizes = 0
    while position < len(block) and block[position] & _RESIZE_MASK == _RESIZE:
        resizes += 1
        if resizes > _MOST_RESIZES:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "the headers resize their table too often")
        position += decode_integer(memoryview(block)[position:], _RESIZE_BITS)[1]


def _literal(header: Header, mark: bytes = _NEVER_INDEXED) -> bytes:
    name, value = header
    return b"".join((mark, encode_integer(len(name), 7), name, encode_integer(len(value), 7), value))


@lru_cache(256)
def _repeated(header: Header) -> bytes:
    return _STATUS_200 if header == (b":status", b"200") else _literal(header, _UNINDEXED)


def header_bytes(headers: Iterable[Header]) -> int:
    """Returns the size of headers as HTTP/2 counts it."""
    return sum(len(name) + len(value) + 32 for name, value in headers)
