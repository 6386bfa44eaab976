"""The rules of `buf lint` (STANDARD and COMMENTS) that apply to one package, over a descriptor set.

They are written again here so that the ordinary tests need no npm. A rule yields one sentence per offence.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileOptions

from tests.contract.elements import Contract, Element

Rule = Callable[[Contract], Iterator[str]]

PASCAL = re.compile(r"([A-Z][a-z0-9]*)+")
LOWER_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
UPPER_SNAKE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
NAMES = {
    "file": LOWER_SNAKE,
    "message": PASCAL,
    "enum": PASCAL,
    "service": PASCAL,
    "rpc": PASCAL,
    "field": LOWER_SNAKE,
    "oneof": LOWER_SNAKE,
    "value": UPPER_SNAKE,
}


def syntax_is_proto3(contract: Contract) -> Iterator[str]:
    for file in contract.files:
        if file.syntax != "proto3":
            yield f"{file.name} is not proto3"


def package_ends_in_a_version(contract: Contract) -> Iterator[str]:
    for file in contract.files:
        if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.v[1-9][0-9]*", file.package):
            yield f"{file.name} has package {file.package!r}, which is not lower_snake.case with a version"


def package_is_the_folder(contract: Contract) -> Iterator[str]:
    for file in contract.files:
        if str(PurePosixPath(file.name).parent) != file.package.replace(".", "/"):
            yield f"{file.name} has package {file.package}"


def files_name_their_package_in_go_and_java(contract: Contract) -> Iterator[str]:
    for file in contract.files:
        folder = str(PurePosixPath(file.name).parent)
        go_package = f"{folder};{folder.replace('/', '')}"
        if file.options != FileOptions(go_package=go_package, java_multiple_files=True):
            yield f"{file.name} does not set go_package = {go_package!r} and java_multiple_files, and nothing else"


def imports_are_used(contract: Contract) -> Iterator[str]:
    for file in contract.files:
        types = set(_types_used(file))
        for dependency in file.dependency:
            if not types & contract.types_in(dependency):
                yield f"{file.name} imports {dependency} and does not use it"


def imports_are_not_public(contract: Contract) -> Iterator[str]:
    for file in contract.files:
        if file.public_dependency:
            yield f"{file.name} passes an import on"


def names_have_their_case(contract: Contract) -> Iterator[str]:
    for element in contract.elements:
        name = PurePosixPath(element.name).stem if element.kind == "file" else element.short_name
        if not NAMES[element.kind].fullmatch(name):
            yield f"{element.kind} {element.name} is not spelled like the others"


def values_begin_with_their_enum(contract: Contract) -> Iterator[str]:
    for value in contract.of("value"):
        if not value.short_name.startswith(_prefix(value)):
            yield f"value {value.name} does not begin with {_prefix(value)}"


def value_zero_is_unspecified(contract: Contract) -> Iterator[str]:
    for enum in contract.of("enum"):
        first = enum.descriptor.value[0]
        if first.number != 0 or not first.name.endswith("_UNSPECIFIED"):
            yield f"enum {enum.name} begins with {first.name} = {first.number}"


def enums_have_no_aliases(contract: Contract) -> Iterator[str]:
    for enum in contract.of("enum"):
        if enum.descriptor.options.allow_alias:
            yield f"enum {enum.name} allows aliases"


def services_end_in_service(contract: Contract) -> Iterator[str]:
    for service in contract.of("service"):
        if not service.short_name.endswith("Service"):
            yield f"service {service.name} does not end in Service"


def requests_and_responses_have_standard_names(contract: Contract) -> Iterator[str]:
    for rpc in contract.of("rpc"):
        service = rpc.owner.rpartition(".")[2]
        for suffix, type_name in (("Request", rpc.descriptor.input_type), ("Response", rpc.descriptor.output_type)):
            name = type_name.rpartition(".")[2]
            if name not in (f"{rpc.short_name}{suffix}", f"{service}{rpc.short_name}{suffix}"):
                yield f"rpc {rpc.name} uses {name} as its {suffix.lower()}"


def requests_and_responses_are_unique(contract: Contract) -> Iterator[str]:
    rpcs = [rpc.descriptor for rpc in contract.of("rpc")]
    uses = Counter(name for rpc in rpcs for name in (rpc.input_type, rpc.output_type))
    for name, count in uses.items():
        if count > 1:
            yield f"message {name} is used {count} times as a request or response"


def everything_has_a_comment(contract: Contract) -> Iterator[str]:
    for element in contract.elements:
        if not element.comment:
            yield f"{element.kind} {element.name} has no comment"


def _types_used(file: FileDescriptorProto) -> Iterator[str]:
    waiting = list(file.message_type)
    while waiting:
        message = waiting.pop()
        yield from (field.type_name for field in message.field if field.type_name)
        waiting += message.nested_type
    for service in file.service:
        for method in service.method:
            yield from (method.input_type, method.output_type)


def _prefix(value: Element) -> str:
    enum = value.owner.rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum).upper() + "_"


RULES: tuple[Rule, ...] = (
    syntax_is_proto3,
    package_ends_in_a_version,
    package_is_the_folder,
    files_name_their_package_in_go_and_java,
    imports_are_used,
    imports_are_not_public,
    names_have_their_case,
    values_begin_with_their_enum,
    value_zero_is_unspecified,
    enums_have_no_aliases,
    services_end_in_service,
    requests_and_responses_have_standard_names,
    requests_and_responses_are_unique,
    everything_has_a_comment,
)
