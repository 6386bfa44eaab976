"""Where results go: as protobuf JSON for programs, or readable for people."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import typer
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich.console import Console
from rich.text import Text

from sensorium.cli import models, numbers, tables
from sensorium.cli.descriptors import fields_of, message_of
from sensorium.cli.transcript import Transcript
from sensorium.v1.common_pb2 import Media
from sensorium.v1.models_pb2 import ListModelsResponse
from sensorium.v1.vision_pb2 import SegmentImageResponse


class Output(Protocol):
    """Shows what an RPC brought."""

    def whole(self, result: Message, endpoint: str | None) -> None:
        """Shows the response of a unary RPC."""

    def events(self, events: Iterable[Message], *, parsed: bool) -> None:
        """Shows each event as it arrives; `parsed` tells that they bring messages beside text."""


class JsonLines:
    """One message a line, in protobuf's JSON."""

    def whole(self, result: Message, endpoint: str | None) -> None:  # noqa: ARG002 - not part of the message
        """Prints `result`."""
        print(MessageToJson(result, indent=None, ensure_ascii=False), flush=True)

    def events(self, events: Iterable[Message], *, parsed: bool) -> None:  # noqa: ARG002 - all is printed
        """Prints each event as it arrives."""
        for event in events:
            self.whole(event, None)


class Readable:
    """For people: text as it arrives, tables, media into the file `path` (`-` is standard output)."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        # Without a terminal there is no width to keep to: what reads the pipe wants one row on one line.
        self._console = Console() if sys.stdout.isatty() else Console(width=100_000)
        self._aside = Console(stderr=True)

    def whole(self, result: Message, endpoint: str | None) -> None:
        """Prints `result`, and on a terminal what it took."""
        if isinstance(result, ListModelsResponse):
            models.print_models(result, self._console)
            return
        rest = result if self._path is None else self._saved(result, self._path)
        # What is told of media on standard output would spoil them.
        tables.print_result(rest, self._aside if self._path == "-" else self._console)
        parts = numbers.consumption(*_figures(result)) if "usage" in result.DESCRIPTOR.fields_by_name else []
        if self._path is None and _media_of(result) is not None:
            self._aside.print("Give --output FILE to keep the media.")
        self._close([*parts, endpoint or ""])

    def _saved(self, result: Message, path: str) -> Message:
        """Writes the media of `result` into the file, and returns what else it tells."""
        if isinstance(result, SegmentImageResponse):
            return self._with_saved_masks(result, path)
        found = _media_of(result)
        if found is None:
            return result
        field, data = found
        with _opened(path) as file:
            file.write(data)
        if path != "-":
            self._aside.print(f"{len(data)} bytes written to {path}", markup=False, highlight=False, soft_wrap=True)
        rest = type(result)()
        rest.CopyFrom(result)
        rest.ClearField(field)
        return rest

    def _with_saved_masks(self, result: SegmentImageResponse, path: str) -> Message:
        """Writes the mask of each region into a file of its own: `masks-0.png` and so on for `masks.png`."""
        wanted = Path(path)
        if path == "-" or not all(segment.mask.png for segment in result.segments):
            raise typer.BadParameter(
                "Each mask is a PNG file of its own: give a file name, and --mask-format png.", param_hint="--output"
            )
        rest = SegmentImageResponse()
        rest.CopyFrom(result)
        for i, segment in enumerate(rest.segments):
            with _opened(str(wanted.with_stem(f"{wanted.stem}-{i}"))) as file:
                file.write(segment.mask.png)
            segment.ClearField("mask")
        self._aside.print(
            f"{len(rest.segments)} masks written beside {path}", markup=False, highlight=False, soft_wrap=True
        )
        return rest

    def events(self, events: Iterable[Message], *, parsed: bool) -> None:
        """Prints text, or messages, as they arrive, and on a terminal, behind it, what it took."""
        live = sys.stdout.isatty()
        with _opened(self._path) if self._path else nullcontext() as file:
            as_wav = self._path is not None and self._path.lower().endswith(".wav")
            transcript = Transcript(sys.stdout, live, file, as_wav, parsed)
            try:
                for event in events:
                    transcript.take(event)
            finally:
                transcript.end()
        came = f"{transcript.audio_bytes} bytes of audio"
        if file is None and transcript.audio_bytes:
            self._aside.print(f"{came}; give --output FILE to keep them.")
        elif file is not None and self._path != "-":
            self._aside.print(f"{came} written to {self._path}", markup=False, highlight=False, soft_wrap=True)
        self._close([*transcript.figures(), getattr(events, "endpoint", lambda: None)() or ""])

    def _close(self, parts: list[str]) -> None:
        if sys.stdout.isatty() and any(parts):
            line = Text(" · ".join(part for part in parts if part), style="dim")
            self._aside.print(line, soft_wrap=True)


def carries_media(response: Descriptor) -> bool:
    """Whether a response brings media or bytes that belong in a file."""
    if response is SegmentImageResponse.DESCRIPTOR:
        return True
    inner = [message_of(field) for field in fields_of(response) if field.name == "delta"]
    return any(message is not None and _media_fields(message) for message in (response, *inner))


def _media_fields(message: Descriptor) -> list[FieldDescriptor]:
    return [field for field in fields_of(message) if not field.is_repeated and _is_media(field)]


def _is_media(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_BYTES or message_of(field) is Media.DESCRIPTOR


def _media_of(result: Message) -> tuple[str, bytes] | None:
    """Returns the field of `result` that holds media, and their bytes."""
    for field, value in result.ListFields():
        if not field.is_repeated and _is_media(field):
            return field.name, value.data if isinstance(value, Media) else value
    return None


def _figures(result: Any) -> Any:
    return result.usage, result.timing


def _opened(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        return nullcontext(sys.stdout.buffer)
    try:
        return Path(path).open("wb")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--output") from None
