"""Frames of HTTP/2 (RFC 9113, section 4): nine bytes of head, and a payload."""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

# Plain numbers: one is compared for each frame.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES = 16_384
"""Largest payload until the peer allows more; also the largest this side takes."""
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65_535

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

_HEAD = Struct(">HBBBL")
_MESSAGE = Struct(">HBBBLBL")
_PREFIX = Struct(">BL")
_SETTING = Struct(">HL")
_NUMBER = Struct(">L")
_TWO_NUMBERS = Struct(">LL")

Frame = tuple[int, int, int, bytes]
"""Kind, flags, number of the stream, payload."""


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113, section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFault(Exception):
    """The peer did what ends a connection."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class FrameReader:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def frames(self, data: bytes) -> Iterator[Frame]:
        """Yields every frame that is whole with `data`.

        Raises:
            ConnectionFault: one is larger than allowed.
        """
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while end - position >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
            stop = position + 9 + (high << 8 | low)
            if stop - position - 9 > FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
            if stop > end:
                break
            yield kind, flags, stream & LARGEST_WINDOW, data[position + 9 : stop]
            position = stop
        self._rest = data[position:]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Returns a frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def message_frame(stream: int, message: bytes) -> bytes:
    """Returns a frame that holds one whole message of gRPC."""
    size = len(message)
    return _MESSAGE.pack((size + 5) >> 8, (size + 5) & 0xFF, DATA, 0, stream, 0, size) + message


def prefixed(message: bytes) -> bytes:
    """Returns a message as gRPC writes it: uncompressed, with its length before it."""
    return _PREFIX.pack(0, len(message)) + message


def header_frames(stream: int, block: bytes, flags: int, frame_bytes: int) -> bytes:
    """Returns the frames of a header block, the peer's largest payload given."""
    if len(block) <= frame_bytes:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    pieces = [block[start : start + frame_bytes] for start in range(0, len(block), frame_bytes)]
    first, *between, last = pieces
    return b"".join(
        (
            frame(HEADERS, flags, stream, first),
            *(frame(CONTINUATION, 0, stream, piece) for piece in between),
            frame(CONTINUATION, END_HEADERS, stream, last),
        )
    )


def settings_frame(settings: dict[int, int]) -> bytes:
    """Returns a frame of settings."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in settings.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Returns what a frame of settings sets.

    Raises:
        ConnectionFault: it is no such frame, or a value is not allowed.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "settings are cut off")
    settings = list(_SETTING.iter_unpack(payload))
    for setting, value in settings:
        if setting == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
        if setting == MAX_FRAME_SIZE and not FRAME_BYTES <= value < 2**24:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a size of frames is not allowed")
    return settings


def window_frame(stream: int, size: int) -> bytes:
    """Returns a frame that lets the peer send so many bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(size))


def reset_frame(stream: int, code: int) -> bytes:
    """Returns a frame that ends a stream."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway_frame(last: int, code: int, text: str = "") -> bytes:
    """Returns a frame that says which stream is the last one that is worked on."""
    return frame(GOAWAY, 0, 0, _TWO_NUMBERS.pack(last, code) + text.encode())


def read_goaway(payload: bytes) -> tuple[int, int]:
    """Returns the last stream that is worked on, and the code.

    Raises:
        ConnectionFault: it is no such frame.
    """
    if len(payload) < _TWO_NUMBERS.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a farewell is cut off")
    last, code = _TWO_NUMBERS.unpack_from(payload)
    return last & LARGEST_WINDOW, code


def number(payload: bytes) -> int:
    """Returns what a frame of one number holds.

    Raises:
        ConnectionFault: it is no such frame.
    """
    if len(payload) != _NUMBER.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame has the wrong size")
    return _NUMBER.unpack(payload)[0]


def unpadded(payload: bytes, flags: int) -> bytes:
    """Returns what a frame of data or headers holds beside padding and priority.

    Raises:
        ConnectionFault: there is more padding than frame.
    """
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - (payload[0] if payload else 1)
    if flags & PRIORITIZED:
        start += 5
    if start > end:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding is longer than its frame")
    return payload[start:end]
