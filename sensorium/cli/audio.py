"""Audio fed into a stream."""

import os
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli import values
from sensorium.cli.fields import Parameter
from sensorium.v1 import speech_pb2 as speech

_CHUNK_BYTES = 16 * 1024


def _configure(request: Any, given: str) -> None:
    """Tells the encoding of a WAV file; bare samples need `--encoding` and `--sample-rate-hertz`."""
    if given == values.STANDARD_INPUT:
        return
    if not _is_wav(given):
        if not Path(given).is_file():
            raise typer.BadParameter(f"{given}: no such file.")
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


def chunks(path: str) -> Iterator[speech.StreamTranscribeRequest]:
    """Yields the samples in `path`, those of standard input as soon as they come."""
    if _is_wav(path):
        with _wav(path) as source:
            while frames := source.readframes(_CHUNK_BYTES // source.getsampwidth()):
                yield speech.StreamTranscribeRequest(audio=frames)
    elif path == values.STANDARD_INPUT:
        while data := os.read(sys.stdin.fileno(), _CHUNK_BYTES):
            yield speech.StreamTranscribeRequest(audio=data)
    else:
        with Path(path).open("rb") as file:
            while data := file.read(_CHUNK_BYTES):
                yield speech.StreamTranscribeRequest(audio=data)


def _is_wav(path: str) -> bool:
    return path.lower().endswith(".wav")


def _wav(path: str) -> wave.Wave_read:
    try:
        source = wave.open(path, "rb")  # noqa: SIM115 - the caller closes it
    except (OSError, EOFError, wave.Error) as error:
        raise typer.BadParameter(f"{path}: {error}") from None
    if source.getsampwidth() != 2:
        source.close()
        raise typer.BadParameter(f"{path}: only WAV files of 16-bit samples can be streamed.")
    return source
