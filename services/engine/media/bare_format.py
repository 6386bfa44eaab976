"""Raw samples without a file format: only their media type describes them."""

from dataclasses import dataclass

from services.engine.media.media_type import essence, parameters
from services.engine.media.refusal import AudioRefused

_SAMPLES = {"audio/l16": "PCM_16", "audio/x-float32": "FLOAT", "audio/pcmu": "ULAW", "audio/pcma": "ALAW"}
"""By libsndfile's names."""
_BYTES = {"PCM_16": 2, "FLOAT": 4, "ULAW": 1, "ALAW": 1}
_ENDIANS = {"little-endian": "LITTLE", "big-endian": "BIG"}
_TELEPHONE = "8000"
"""Samples per second of G.711 where no other rate is told (RFC 4856)."""
_G711 = ("audio/pcmu", "audio/pcma")


@dataclass(frozen=True)
class BareFormat:
    """The format of raw samples."""

    samples: str
    """PCM_16, FLOAT, ULAW or ALAW."""
    rate: int
    channels: int
    endian: str = "LITTLE"

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return self.channels * _BYTES[self.samples]


def bare_format(media_type: str) -> BareFormat | None:
    """Parses a media type of raw samples; None for other media types.

    Samples of more than 8 bits are little-endian, as in the rest of the contract, unless `endianness=big-endian` is
    among the parameters; RFC 2586 has them the other way round, and hardly anybody follows it.

    Raises:
        AudioRefused: a parameter is missing or wrong.
    """
    kind = essence(media_type)
    if kind not in _SAMPLES:
        return None
    told = parameters(media_type)
    if unknown := sorted(set(told) - {"rate", "channels", "endianness"}):
        raise AudioRefused(f"is declared with {unknown[0]!r}; {kind} has rate, channels and endianness")
    rate = told.get("rate", _TELEPHONE if kind in _G711 else "")
    channels = told.get("channels", "1")
    for name, value in (("rate", rate), ("channels", channels)):
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise AudioRefused(f"is declared as {kind} without a number as {name}: {kind};rate=16000;channels=1")
    endian = _ENDIANS.get(told.get("endianness", "little-endian"))
    if endian is None:
        raise AudioRefused("has another endianness than little-endian or big-endian")
    return BareFormat(_SAMPLES[kind], int(rate), int(channels), endian)
