"""The contract's own words for the help texts. They are in the type stubs, which travel with the package."""

import ast
from functools import cache
from importlib.resources import files

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from sensorium.cli.descriptors import container_of


def field_documentation(field: FieldDescriptor) -> str:
    """Returns what the contract says about `field`; empty where the stubs are missing."""
    message = container_of(field)
    return _texts(_stub(message.file.name, "_pb2.pyi")).get((*_nesting(message), field.name), "")


def rpc_documentation(method: MethodDescriptor) -> str:
    """Returns what the contract says about `method`; empty where the stubs are missing."""
    service = method.containing_service
    return _texts(_stub(service.file.name, "_pb2_grpc.pyi")).get((f"{service.name}Stub", method.name), "")


def _nesting(message: Descriptor) -> tuple[str, ...]:
    outer = message.containing_type
    return (*_nesting(outer), message.name) if outer else (message.name,)


def _stub(proto: str, suffix: str) -> str:
    return proto.rpartition("/")[2].removesuffix(".proto") + suffix


@cache
def _texts(stub: str) -> dict[tuple[str, ...], str]:
    source = files("sensorium.v1") / stub
    return dict(_walk(ast.parse(source.read_text()), ())) if source.is_file() else {}


def _walk(body: ast.Module | ast.ClassDef, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    texts: list[tuple[tuple[str, ...], str]] = []
    attribute = ""
    for node in body.body:
        match node:
            case ast.ClassDef():
                texts += _walk(node, (*path, node.name))
            case ast.FunctionDef():
                texts.append(((*path, node.name), " ".join((ast.get_docstring(node) or "").split())))
            case ast.AnnAssign(target=ast.Name(id=name)):
                attribute = name
            case ast.Expr(value=ast.Constant(value=str(text))) if attribute:
                texts.append(((*path, attribute), " ".join(text.split())))
            case _:
                attribute = ""
    return texts
