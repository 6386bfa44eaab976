"""Samples that a model made, as bytes."""

from io import BytesIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from services.engine.media.audio_encoding import AudioEncoding

_FULL_SCALE = 32767
_FORMATS = {
    AudioEncoding.MULAW: ("RAW", "ULAW"),
    AudioEncoding.ALAW: ("RAW", "ALAW"),
    AudioEncoding.WAV: ("WAV", "PCM_16"),
    AudioEncoding.FLAC: ("FLAC", "PCM_16"),
    AudioEncoding.OGG_OPUS: ("OGG", "OPUS"),
    AudioEncoding.MP3: ("MP3", "MPEG_LAYER_III"),
}
"""What the library calls a format and its samples."""
_LOSSY = {AudioEncoding.OGG_OPUS, AudioEncoding.MP3}
_BLOCK = 8192
"""Samples given to an encoder at once: some keep a copy of them on the stack."""


class AudioWriter:
    """Writes one channel, piece by piece. Samples beyond [-1, 1] are clipped."""

    def __init__(self, encoding: AudioEncoding, rate: int) -> None:
        """Writes at `rate` samples per second, which the encoding can hold."""
        self._encoding = encoding
        self._file = BytesIO()
        self._sound: soundfile.SoundFile | None = None
        if encoding in _FORMATS:
            kind, subtype = _FORMATS[encoding]
            self._sound = soundfile.SoundFile(self._file, "w", rate, 1, subtype=subtype, format=kind)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Takes the samples that follow, `[samples]`."""
        kept = np.clip(samples, -1.0, 1.0)
        if self._encoding is AudioEncoding.FLOAT32:
            self._file.write(kept.astype("<f4", copy=False).tobytes())
            return
        # The same rounding in every lossless encoding, so that they hold the same audio.
        whole = kept if self._encoding in _LOSSY else np.rint(kept * _FULL_SCALE).astype("<i2")
        if self._sound is None:
            self._file.write(whole.tobytes())
            return
        for begin in range(0, len(whole), _BLOCK):
            self._sound.write(whole[begin : begin + _BLOCK])

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def take(self) -> bytes:
        """Returns what was written since the last call, of a bare encoding."""
        if self._sound is not None:
            self._sound.flush()
        written = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return written

    def finish(self) -> bytes:
        """Ends the file and returns the whole of it. Nothing may follow."""
        if self._sound is not None:
            self._sound.close()
        return self._file.getvalue()
