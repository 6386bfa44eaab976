"""Writes docs/api from the contract: `python -m tests.docs.api_pages`."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from protos.generate import descriptor_set
from tests.contract.elements import Contract, Element, is_in_oneof, is_repeated

FOLDER = Path(__file__).parent.parent.parent / "docs" / "api"
_NOTE = """`make docs` writes this page from `protos/sensorium/v1/{name}.proto`, and a test keeps it so.
Calls to copy are in [examples.md](../examples.md), the errors of every RPC in [clients.md](../clients.md#errors).
An `optional` field that is absent is not 0: its meaning says what holds then. Any other field that is not sent is 0,
false or empty, and its meaning says whether that is allowed.
"""
_SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}


@dataclass(frozen=True)
class _Page:
    """Renders one proto file as a Markdown page."""

    contract: Contract
    file: Element

    @property
    def name(self) -> str:
        return Path(self.file.name).stem

    @cached_property
    def elements(self) -> list[Element]:
        return [each for each in self.contract.elements if each.file is self.file.file]

    def text(self) -> str:
        rpcs = [each for each in self.elements if each.kind == "rpc"]
        services = [each for each in self.elements if each.kind == "service"]
        lines = [f"# {services[0].short_name if services else 'Shared messages'}", "", one_line(self.file.comment), ""]
        lines += [_NOTE.format(name=self.name)]
        for service in services:
            lines += [one_line(service.comment), ""]
        told: set[str] = set()
        for rpc in rpcs:
            lines += [f"## {rpc.short_name}", "", one_line(rpc.comment), ""]
            for way, type_name, stream in (
                ("Request", rpc.descriptor.input_type, rpc.descriptor.client_streaming),
                ("Response", rpc.descriptor.output_type, rpc.descriptor.server_streaming),
            ):
                told.add(type_name.removeprefix("."))
                lines += [f"{way}{', a stream of' if stream else ''}: `{type_name.rpartition('.')[2]}`", ""]
                lines += self.table(type_name.removeprefix("."))
        lines += self.others(told, "## Messages" if rpcs else "")
        return "\n".join(lines).rstrip() + "\n"

    def others(self, told: set[str], heading: str) -> Iterator[str]:
        """Yields the messages and enums not in `told` (requests and responses), in order of the file."""
        if heading:
            yield from (heading, "")
        for element in self.elements:
            if element.kind in ("message", "enum") and element.name not in told:
                yield from (f"### {local(element.name)}", "", one_line(element.comment), "")
                yield from self.table(element.name)

    def table(self, owner: str) -> Iterator[str]:
        """Yields the Markdown table of a message's fields or an enum's values."""
        rows = [each for each in self.elements if each.owner == owner]
        if values := [each for each in rows if each.kind == "value"]:
            yield from ("| Value | Number | Meaning |", "|---|---:|---|")
            for value in values:
                yield f"| `{value.short_name}` | {value.descriptor.number} | {one_line(value.comment)} |"
        else:
            yield from ("| Field | Type | Meaning |", "|---|---|---|")
            oneofs = [each for each in rows if each.kind == "oneof"]
            shown: set[str] = set()
            for field in (each for each in rows if each.kind == "field"):
                choice = oneofs[field.descriptor.oneof_index] if is_in_oneof(field.descriptor) else None
                if choice is not None and choice.name not in shown:
                    shown.add(choice.name)
                    yield f"| *{choice.short_name}* | oneof | {one_line(choice.comment)} |"
                mark = "– " if choice is not None else ""
                meaning = one_line(field.comment)
                yield f"| {mark}`{field.short_name}` = {field.descriptor.number} | {self.type_of(field)} | {meaning} |"
        yield ""

    def type_of(self, field: Element) -> str:
        """Returns a field's type, with a link where it is a message or an enum of the contract."""
        entry = _entry(self.contract, field)
        if entry is not None:
            return f"map of {' to '.join(_SCALARS[part.type] for part in entry)}"
        kind = field.descriptor
        name = kind.type_name.removeprefix(".")
        if name in self.contract.by_name:
            page = Path(self.contract.by_name[name].file.name).stem
            there = "" if page == self.name else f"{page}.md"
            written = f"[{local(name)}]({there}#{anchor(name)})"
        else:
            written = name.rpartition(".")[2] if name else _SCALARS[kind.type]
        return f"{'repeated ' if is_repeated(kind) else ''}{'optional ' if kind.proto3_optional else ''}{written}"


def _entry(contract: Contract, field: Element) -> list[FieldDescriptorProto] | None:
    owner = contract.message(field.owner)
    assert owner is not None
    nested = {f".{field.owner}.{each.name}": each for each in owner.nested_type if each.options.map_entry}
    entry = nested.get(field.descriptor.type_name)
    return None if entry is None else list(entry.field)


def local(name: str) -> str:
    """Returns a full name without its package."""
    return name.removeprefix("sensorium.v1.")


def anchor(name: str) -> str:
    """Returns what follows `#` in a link to the heading of a message or an enum."""
    return local(name).replace(".", "").lower()


def one_line(comment: str) -> str:
    """Returns a comment as a cell of a table."""
    return " ".join(comment.split()).replace("|", "\\|")


def pages() -> dict[Path, str]:
    """Returns every page by its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contract.binpb"
        descriptor_set(path)
        contract = Contract.read(path)
    every = [_Page(contract, file) for file in contract.of("file")]
    return {FOLDER / f"{page.name}.md": page.text() for page in every}


if __name__ == "__main__":
    for target, text in pages().items():
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
