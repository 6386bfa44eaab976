"""Finds the changes of the contract that break callers built against a released one."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from tests.contract.elements import Contract, Element, is_in_oneof, is_repeated


def breaking_changes(released: Contract, current: Contract) -> list[str]:
    """One sentence per change that breaks callers of `released`, over bytes or over source. Additions break nobody."""
    return list(_changes(released, current))


def _changes(released: Contract, current: Contract) -> Iterator[str]:
    for old in released.of("message", "enum", "service", "rpc"):
        new = current.by_name.get(old.name)
        if new is None or new.kind != old.kind:
            yield f"{old.kind} {old.name} was removed"
        elif new.file.name != old.file.name:
            yield f"{old.kind} {old.name} moved from {old.file.name} to {new.file.name}"
        else:
            yield from _CHANGES_OF[old.kind](old, new)


def _changes_of_rpc(old: Element, new: Element) -> Iterator[str]:
    for attribute in ("input_type", "output_type", "client_streaming", "server_streaming"):
        before, after = getattr(old.descriptor, attribute), getattr(new.descriptor, attribute)
        if before != after:
            yield f"rpc {old.name} changed {attribute} from {before} to {after}"


def _changes_of_enum(old: Element, new: Element) -> Iterator[str]:
    names = {value.number: value.name for value in new.descriptor.value}
    for value in old.descriptor.value:
        yield from _renaming(f"value {old.name}.{value.name}", value.number, value.name, names)


def _changes_of_message(old: Element, new: Element) -> Iterator[str]:
    names = {field.number: field.name for field in new.descriptor.field}
    by_number = {field.number: field for field in new.descriptor.field}
    for field in old.descriptor.field:
        name = f"field {old.name}.{field.name}"
        yield from _renaming(name, field.number, field.name, names)
        after = by_number.get(field.number)
        if after is None:
            continue
        before, now = _shape(old.descriptor, field), _shape(new.descriptor, after)
        for aspect in before:
            if before[aspect] != now[aspect]:
                yield f"{name} changed its {aspect} from {before[aspect]} to {now[aspect]}"


def _changes_of_service(old: Element, new: Element) -> Iterator[str]:
    yield from ()


def _renaming(what: str, number: int, name: str, names: dict[int, str]) -> Iterator[str]:
    if number not in names:
        yield f"{what} = {number} was removed or renumbered"
    elif names[number] != name:
        yield f"{what} = {number} was renamed to {names[number]}"


def _shape(message: DescriptorProto, field: FieldDescriptorProto) -> dict[str, str]:
    """The aspects of a field that bytes or generated code depend on."""
    type_names = {f"{entry.name}": _entry(entry) for entry in message.nested_type if entry.options.map_entry}
    return {
        "type": FieldDescriptorProto.Type.Name(field.type),
        "named type": type_names.get(field.type_name.rpartition(".")[2], field.type_name),
        "label": "repeated" if is_repeated(field) else "singular",
        "presence": "optional" if field.proto3_optional else "plain",
        "oneof": message.oneof_decl[field.oneof_index].name if is_in_oneof(field) else "none",
        "JSON name": field.json_name,
    }


def _entry(entry: DescriptorProto) -> str:
    key, value = (FieldDescriptorProto.Type.Name(field.type) for field in entry.field)
    return f"map of {key} to {value}{entry.field[1].type_name}"


_CHANGES_OF = {
    "message": _changes_of_message,
    "enum": _changes_of_enum,
    "service": _changes_of_service,
    "rpc": _changes_of_rpc,
}
