"""Results as tables and lines, made from their descriptors."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensorium.cli.descriptors import container_of, fields_of, message_of, short_name
from sensorium.cli.messages import MessageText
from sensorium.cli.numbers import sized, spoken
from sensorium.cli.terminal import printable
from sensorium.v1.common_pb2 import BoundingBox, Embedding, GeneratedCandidate, LabelScore, Media
from sensorium.v1.models_pb2 import ModelInfo
from sensorium.v1.vision_pb2 import RunLengthMask

ASIDE = {"model", "usage", "timing", "seed"}
"""Fields of a result that are not its content."""

_SPREAD = (LabelScore.DESCRIPTOR, BoundingBox.DESCRIPTOR)
"""Messages whose fields are columns of the table they are in."""
_SHOWN = 8
_COUNT, _BYTES = "_count", "_bytes"
"""How the names of fields end that hold how many there are of something, and how large it is."""
_NUMBERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_FLOAT}


def print_result(result: Message, console: Console) -> None:
    """Prints the content of `result`: lists as tables, generated texts as they are, the rest as `name: value`."""
    for field, value in result.ListFields():
        if field.name not in ASIDE or container_of(field).name == "GetModelResponse":
            _print(_named(field), field, value, console)


def _print(name: str, field: FieldDescriptor, value: Any, console: Console) -> None:
    inner = message_of(field)
    if field.is_repeated and field.type == FieldDescriptor.TYPE_STRING and container_of(field) is ModelInfo.DESCRIPTOR:
        _print_line(name, ", ".join(map(printable, value)), console)
    elif field.is_repeated and field.type == FieldDescriptor.TYPE_STRING:
        for text in value:
            _print_text(text, console)
    elif field.is_repeated and inner is not None:
        _print_list(name, inner, value, console)
    elif inner is not None and any(message_of(part) is not None for part in fields_of(inner)):
        for part, one in value.ListFields():
            _print(f"{name}.{_named(part)}", part, one, console)
    else:
        _print_line(name, cell(field, value), console)


def _print_line(name: str, text: str, console: Console) -> None:
    console.print(Text(f"{name}: ", style="bold") + Text(text), soft_wrap=True)


def _print_list(name: str, kind: Descriptor, values: Sequence[Message], console: Console) -> None:
    if kind is not GeneratedCandidate.DESCRIPTOR and not _lists(kind):
        console.print(_table(name, values, console))
        return
    for index, value in enumerate(values):
        if isinstance(value, GeneratedCandidate):
            _print_candidate(value, console)
            continue
        for field, part in value.ListFields():
            inside = f"{name}[{index}]"
            _print(inside if field in _lists(kind) else f"{inside}.{_named(field)}", field, part, console)


def _print_candidate(candidate: GeneratedCandidate, console: Console) -> None:
    if not candidate.HasField("message"):
        _print_text(candidate.text, console)
        return
    message = MessageText(console.is_terminal)
    said = message.add(candidate.message) + message.end()
    console.print(said.removesuffix("\n"), markup=False, highlight=False, soft_wrap=True)


def _print_text(text: str, console: Console) -> None:
    shown = printable(text) if console.is_terminal else text
    console.print(shown, markup=False, highlight=False, soft_wrap=True)


def _lists(kind: Descriptor) -> list[FieldDescriptor]:
    return [field for field in fields_of(kind) if field.is_repeated and message_of(field) is not None]


class _Column(NamedTuple):
    field: FieldDescriptor
    inside: FieldDescriptor | None = None
    """The row's field that has it, if the row itself has not."""

    def cell(self, row: Message) -> str:
        """Returns what stands here in a row."""
        if self.inside is not None:
            if not row.HasField(self.inside.name):
                return ""
            row = getattr(row, self.inside.name)
        return cell(self.field, getattr(row, self.field.name), row)


def _table(name: str, rows: Sequence[Message], console: Console) -> Table:
    table = Table(title=name, title_justify="left", box=box.SIMPLE if console.is_terminal else None)
    columns = list(_columns(rows))
    for column in columns:
        number = column.field.cpp_type in _NUMBERS
        table.add_column(_named(column.field), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(column.cell(row)) for column in columns))
    return table


def _columns(rows: Sequence[Message]) -> Iterator[_Column]:
    """Yields the fields that any of the rows has, and those that have no presence: 0 is a value there."""
    present = {field.name for row in rows for field, _ in row.ListFields()}
    for field in fields_of(rows[0].DESCRIPTOR):
        inner = message_of(field)
        if inner is GeneratedCandidate.DESCRIPTOR:
            continue
        if inner in _SPREAD and not field.is_repeated and field.name in present:
            yield from (_Column(part, field) for part in fields_of(inner))
        elif field.name in present or not (field.has_presence or field.is_repeated):
            yield _Column(field)


def _named(field: FieldDescriptor) -> str:
    """Returns what a person is told a field is: its name, but `tokens` for `token_count` and `weights` for the bytes.

    How much that is stands behind it with its unit.
    """
    if field.name.endswith(_COUNT):
        return field.name.removesuffix(_COUNT) + "s"
    if field.name.endswith(_BYTES):
        return field.name.removesuffix(_BYTES) + ("s" if field.is_repeated else "")
    return field.name


def cell(field: FieldDescriptor, value: Any, row: Message | None = None) -> str:
    """Returns `value` of `field` on one line; empty where its `row` does not have it."""
    if field.is_repeated:
        parts = [_one(field, one) for one in value[:_SHOWN]]
        return ", ".join(parts) + (f", … ({len(value)})" if len(value) > _SHOWN else "")
    if row is not None and field.has_presence and not row.HasField(field.name):
        return ""
    return _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case bytes():
            return f"({len(value)} bytes)"
        case Media():
            return value.uri or f"({len(value.data)} bytes of {value.mime_type or 'media'})"
        case Embedding():
            return f"{len(value.values)} values: {', '.join(f'{number:.4g}' for number in value.values[:_SHOWN])}, …"
        case RunLengthMask():
            return f"{len(value.run_lengths)} runs"
        case int() if field.enum_type is not None:
            return short_name(field, value)
        case int() if field.name.endswith(_BYTES):
            return sized(value)
        case int() if field.name.endswith(_COUNT):
            return f"{value:,}"
        case Duration():
            return spoken(value)
        case Message():
            shown = {
                _named(inner): cell(inner, getattr(value, inner.name), value) for inner in fields_of(value.DESCRIPTOR)
            }
            return ", ".join(f"{name}={text}" for name, text in shown.items() if text)
        case _:
            return printable(str(value))
