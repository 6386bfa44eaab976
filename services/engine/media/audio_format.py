"""Detects the format of a recording by its bytes, and compares it with the declared media type."""

from enum import Enum

from services.engine.media.media_type import UNDECLARED, contradiction, essence
from services.engine.media.refusal import AudioRefused

_ACCEPTED = (
    "accepted are WAV, FLAC, OGG (Vorbis, Opus) and MP3, and bare samples declared as such: audio/l16;rate=16000"
)


class AudioFormat(Enum):
    """The formats of files that are decoded. Values are their media types."""

    WAV = "audio/wav"
    FLAC = "audio/flac"
    OGG = "audio/ogg"
    MP3 = "audio/mpeg"


_DECLARED_TYPES = {
    "audio/wav": AudioFormat.WAV,
    "audio/wave": AudioFormat.WAV,
    "audio/x-wav": AudioFormat.WAV,
    "audio/vnd.wave": AudioFormat.WAV,
    "audio/flac": AudioFormat.FLAC,
    "audio/x-flac": AudioFormat.FLAC,
    "audio/ogg": AudioFormat.OGG,
    "audio/opus": AudioFormat.OGG,
    "audio/vorbis": AudioFormat.OGG,
    "application/ogg": AudioFormat.OGG,
    "audio/mpeg": AudioFormat.MP3,
    "audio/mp3": AudioFormat.MP3,
}
_OTHERS = (
    (b"FORM", "an AIFF file"),
    (b".snd", "an AU file"),
    (b"caff", "a CAF file"),
    (b"RIFX", "a WAV file of big-endian samples"),
    (b"RF64", "a WAV file of more than 4 GB"),
    (b"#!AMR", "an AMR file"),
    (b"\x1aE\xdf\xa3", "a WebM or Matroska file"),
    (b"\xff\xf1", "an AAC file"),
    (b"\xff\xf9", "an AAC file"),
    (b"0&\xb2u", "a WMA file"),
    (b"data:", "a data URI, not the bytes in it"),
    (b"UklGR", "base64 text, not the bytes it stands for"),
    (b"ZkxhQ", "base64 text, not the bytes it stands for"),
    (b"T2dnU", "base64 text, not the bytes it stands for"),
    (b"SUQz", "base64 text, not the bytes it stands for"),
)


def format_of(data: bytes) -> AudioFormat:
    """Detects the format by the first bytes.

    Raises:
        AudioRefused: They belong to no format that is decoded.
    """
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return AudioFormat.WAV
    if data.startswith(b"fLaC"):
        return AudioFormat.FLAC
    if data.startswith(b"OggS"):
        return AudioFormat.OGG
    # A frame's sync word, with a layer that is not AAC's none.
    if data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06):
        return AudioFormat.MP3
    raise AudioRefused(f"is {_other(data)}; {_ACCEPTED}")


def check_declared(media_type: str, found: AudioFormat) -> None:
    """Refuses a declared type that contradicts the format found. An empty one, or one that says nothing, does not.

    Raises:
        AudioRefused: it does, or it is no type of audio that is decoded.
    """
    declared = essence(media_type)
    if declared not in UNDECLARED and _DECLARED_TYPES.get(declared) is not found:
        raise AudioRefused(contradiction(media_type, found.value))


def _other(data: bytes) -> str:
    if not data:
        return "empty"
    if data[4:8] == b"ftyp":
        return "an M4A or MP4 file"
    if data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or data[8:12] == b"WEBP":
        return "an image"
    text = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((name for start, name in _OTHERS if data.startswith(start) or text.startswith(start)), "no known audio")
