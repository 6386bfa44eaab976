"""Reads the contract as a flat list of elements with their comments, which the rules check."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

SYNTAX = FileDescriptorProto.SYNTAX_FIELD_NUMBER
MESSAGES = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
ENUMS = FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
SERVICES = FileDescriptorProto.SERVICE_FIELD_NUMBER
RPCS = ServiceDescriptorProto.METHOD_FIELD_NUMBER
FIELDS = DescriptorProto.FIELD_FIELD_NUMBER
ONEOFS = DescriptorProto.ONEOF_DECL_FIELD_NUMBER
NESTED_MESSAGES = DescriptorProto.NESTED_TYPE_FIELD_NUMBER
NESTED_ENUMS = DescriptorProto.ENUM_TYPE_FIELD_NUMBER
VALUES = EnumDescriptorProto.VALUE_FIELD_NUMBER


@dataclass(frozen=True)
class Element:
    """One file, message, field, oneof, enum, value, service or rpc.

    `kind` is one of these words in lower case, `name` the full name, `owner` the full name of the enclosing element,
    `comment` the leading comment.
    """

    kind: str
    name: str
    owner: str
    comment: str
    descriptor: Any
    file: FileDescriptorProto

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Contract:
    """The files of one descriptor set, and the google/ files that they import."""

    files: tuple[FileDescriptorProto, ...]
    imported: tuple[FileDescriptorProto, ...]

    @classmethod
    def read(cls, path: Path) -> "Contract":
        files = FileDescriptorSet.FromString(path.read_bytes()).file
        ours = tuple(file for file in files if not file.name.startswith("google/"))
        return cls(ours, tuple(file for file in files if file not in ours))

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        return tuple(element for file in self.files for element in _Walk(file).elements())

    def of(self, *kinds: str) -> list[Element]:
        return [element for element in self.elements if element.kind in kinds]

    @cached_property
    def by_name(self) -> dict[str, Element]:
        return {element.name: element for element in self.elements}

    def types_in(self, file_name: str) -> set[str]:
        """The messages and enums that a file defines, named as in `type_name`: with a leading dot."""
        file = next(file for file in (*self.files, *self.imported) if file.name == file_name)
        return {f".{element.name}" for element in _Walk(file).elements() if element.kind in ("message", "enum")}

    def message(self, type_name: str) -> DescriptorProto | None:
        """The message called `type_name`; None if it is an enum or one of google's own."""
        element = self.by_name.get(type_name.removeprefix("."))
        return element.descriptor if element and element.kind == "message" else None

    def fields_of_requests(self) -> list[Element]:
        """Every field that a caller can set: those of requests and of all messages nested in them."""
        reached: set[str] = set()
        waiting = [rpc.descriptor.input_type for rpc in self.of("rpc")]
        while waiting:
            name = waiting.pop()
            message = self.message(name)
            if message is not None and name not in reached:
                reached.add(name)
                waiting += [field.type_name for field in message.field if field.type_name]
        return [field for field in self.of("field") if f".{field.owner}" in reached]


@dataclass(frozen=True)
class _Walk:
    file: FileDescriptorProto

    @cached_property
    def comments(self) -> dict[tuple[int, ...], str]:
        return {tuple(at.path): at.leading_comments.strip() for at in self.file.source_code_info.location}

    def element(self, kind: str, owner: str, path: tuple[int, ...], descriptor: Any) -> Element:
        return Element(kind, f"{owner}.{descriptor.name}", owner, self.comments.get(path, ""), descriptor, self.file)

    def elements(self) -> Iterator[Element]:
        file, package = self.file, self.file.package
        yield Element("file", file.name, package, self.comments.get((SYNTAX,), ""), file, file)
        for index, message in enumerate(file.message_type):
            yield from self.message(message, package, (MESSAGES, index))
        for index, enum in enumerate(file.enum_type):
            yield from self.enum(enum, package, (ENUMS, index))
        for index, service in enumerate(file.service):
            yield self.element("service", package, (SERVICES, index), service)
            yield from self.children("rpc", f"{package}.{service.name}", (SERVICES, index, RPCS), service.method)

    def children(self, kind: str, owner: str, path: tuple[int, ...], descriptors: Iterable[Any]) -> Iterator[Element]:
        for index, descriptor in enumerate(descriptors):
            yield self.element(kind, owner, (*path, index), descriptor)

    def message(self, message: DescriptorProto, owner: str, path: tuple[int, ...]) -> Iterator[Element]:
        if message.options.map_entry:
            return
        name = f"{owner}.{message.name}"
        yield self.element("message", owner, path, message)
        yield from self.children("field", name, (*path, FIELDS), message.field)
        real = len(message.oneof_decl) - sum(field.proto3_optional for field in message.field)
        yield from self.children("oneof", name, (*path, ONEOFS), message.oneof_decl[:real])
        for index, nested in enumerate(message.nested_type):
            yield from self.message(nested, name, (*path, NESTED_MESSAGES, index))
        for index, enum in enumerate(message.enum_type):
            yield from self.enum(enum, name, (*path, NESTED_ENUMS, index))

    def enum(self, enum: EnumDescriptorProto, owner: str, path: tuple[int, ...]) -> Iterator[Element]:
        yield self.element("enum", owner, path, enum)
        yield from self.children("value", f"{owner}.{enum.name}", (*path, VALUES), enum.value)


def is_repeated(field: FieldDescriptorProto) -> bool:
    return field.label == FieldDescriptorProto.LABEL_REPEATED


def is_in_oneof(field: FieldDescriptorProto) -> bool:
    """Whether the field belongs to a oneof in the source: protoc adds a synthetic oneof per `optional` field."""
    return field.HasField("oneof_index") and not field.proto3_optional
