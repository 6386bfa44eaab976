"""Audio fed into a stream."""

import os
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli import values
from sensorium.cli.fields import Parameter
from sensorium.v1 import speech_pb2 as speech

_CHUNK_BYTES = 16 * 1024
_PIECE_SECONDS = 0.1
_FILES = frozenset({b"RIFF", b"OggS", b"fLaC"})
"""How files of sound begin; read as samples they would be noise."""
_SAMPLE_BYTES: dict[int, int] = {
    speech.AUDIO_ENCODING_FLOAT32: 4,
    speech.AUDIO_ENCODING_MULAW: 1,
    speech.AUDIO_ENCODING_ALAW: 1,
}


def _configure(request: Any, given: str) -> None:
    """Tells the encoding of a WAV file; bare samples need `--encoding` and `--sample-rate-hertz`."""
    # There even if no option fills it, so that the service says what is missing in it.
    request.config.SetInParent()
    if given == values.STANDARD_INPUT:
        return
    if not _is_wav(given):
        _must_be_bare_samples(given)
        return
    with _wav(given) as source:
        request.config.encoding = speech.AUDIO_ENCODING_LINEAR16
        request.config.sample_rate_hertz = source.getframerate()
        request.config.channel_count = source.getnchannels()


ARGUMENT = Parameter(
    "audio",
    Annotated[
        str | None,
        typer.Argument(help="WAV file, or bare samples; `-` reads them from standard input.", metavar="AUDIO"),
    ],
    _configure,
    positional=True,
)
"""The file to send."""


def chunks(path: str, config: speech.StreamTranscribeConfig, *, real_time: bool) -> Iterator[Any]:
    """Yields requests with the samples in `path`, which are as `config` says; those of standard input as they come.

    With `real_time`, no sooner than they would have been spoken.
    """
    spoken = _bytes_per_second(config)
    pieces = _pieces(path, max(int(spoken * _PIECE_SECONDS), 1) if real_time else _CHUNK_BYTES)
    begin = time.monotonic()
    sent = 0
    for piece in pieces:
        sent += len(piece)
        if real_time and spoken:
            time.sleep(max(begin + sent / spoken - time.monotonic(), 0))
        yield speech.StreamTranscribeRequest(audio=piece)


def _bytes_per_second(config: speech.StreamTranscribeConfig) -> int:
    """0 where the config is wrong, which the server says better."""
    channels = config.channel_count if config.HasField("channel_count") else 1
    return max(config.sample_rate_hertz * channels, 0) * _SAMPLE_BYTES.get(config.encoding, 2)


def _pieces(path: str, size: int) -> Iterator[bytes]:
    if _is_wav(path):
        with _wav(path) as source:
            frames = max(size // (source.getsampwidth() * source.getnchannels()), 1)
            while data := source.readframes(frames):
                yield data
    elif path == values.STANDARD_INPUT:
        while data := os.read(sys.stdin.fileno(), size):
            yield data
    else:
        with Path(path).open("rb") as file:
            while data := file.read(size):
                yield data


def _must_be_bare_samples(path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            begin = file.read(4)
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    if begin in _FILES or begin.startswith(b"ID3"):
        raise typer.BadParameter(
            f"{path}: only bare samples and 16-bit .wav files can be streamed; `sensorium speech transcribe` takes it."
        )


def _is_wav(path: str) -> bool:
    return path.lower().endswith(".wav")


def _wav(path: str) -> wave.Wave_read:
    try:
        source = wave.open(path, "rb")  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}") from None
    except (EOFError, wave.Error) as error:
        raise typer.BadParameter(f"{path}: this is no WAV file of plain samples ({error}).") from None
    if source.getsampwidth() != 2:
        source.close()
        raise typer.BadParameter(f"{path}: only WAV files of 16-bit samples can be streamed.")
    return source
