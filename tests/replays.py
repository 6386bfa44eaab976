"""What a function of Triton's language asks of the interpreter, noted once and then played again.

In each call the interpreter decides anew how types are cast and shapes meet, which takes it much longer than computing
the result. All of that follows from the types and Python numbers among the arguments, and nothing from values.
"""

import re
from collections.abc import Callable, Hashable
from enum import Enum
from functools import partial
from types import FunctionType
from typing import Any

_EFFECTS = re.compile("load|store|atomic|program|print|assert|assume|barrier|descriptor")
"""In the names of what is done each time, though all arguments may be constants."""
_PLAIN = (int, bool, str, type(None), FunctionType)


class Notes:
    """Takes the builder's place while a function runs: passes on what is asked of it, and notes it."""

    def __init__(self, module: Any, given: list[Any]) -> None:
        """`module` is Triton's interpreter, `given` the function's tensors, each with a handle of its own."""
        self._builder, self._handle, self._given = module.interpreter_builder, module.TensorHandle, given
        self.usable = True
        """False once anything was done that a replay cannot do, such as to look at a value."""
        self._names = {id(tensor.handle): f"t{i}.handle" for i, tensor in enumerate(given)}
        self._held: list[Any] = []  # what is held keeps its id to itself
        self._lines: list[str] = []
        self._constants: dict[str, Any] = {"like": _like}

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._builder, name)
        return partial(self._asked, name, own) if callable(own) else own

    def _asked(self, name: str, own: Callable[..., Any], *given: Any, **named: Any) -> Any:
        found = own(*given, **named)
        if not name.startswith("create_") and not isinstance(found, self._handle):
            return found  # such as a type
        self._held += [found, *given, *named.values()]
        arguments = [self._name(each) for each in given]
        arguments += [f"{key}={self._name(each)}" for key, each in named.items()]
        handles = found if isinstance(found, tuple) else (found,)
        self.usable &= all(isinstance(each, self._handle | None) for each in handles)
        if (
            self.usable
            and not _EFFECTS.search(name)
            and all(self._is_constant(each) for each in (*given, *named.values()))
        ):
            for handle in handles:
                handle.data.flags.writeable = False  # since it is handed out again
                self._names[id(handle)] = self._constant(handle)
            return found
        targets = [f"h{len(self._lines)}_{i}" for i in range(len(handles))]
        self._names |= {id(handle): name for handle, name in zip(handles, targets, strict=True) if handle is not None}
        self._lines.append(f"{', '.join(targets)} = {self._constant(own)}({', '.join(arguments)})")
        return found

    def _is_constant(self, given: Any) -> bool:
        return self._names.get(id(given), "c").startswith("c")

    def _name(self, given: Any) -> str:
        if id(given) in self._names:
            return self._names[id(given)]
        nested = given if isinstance(given, (list, tuple)) else [given]
        self.usable &= not any(isinstance(each, self._handle) for each in nested)  # it came from elsewhere
        return self._constant(given)

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name

    def replay(self, found: Any) -> Callable[..., Any] | None:
        """Returns what computes of other tensors what the function has `found` of these; None if nothing can."""
        last = f"return {self._made(found)}"
        if not self.usable:
            return None
        parameters = ", ".join(f"t{i}" for i in range(len(self._given)))
        exec("\n ".join([f"def replay({parameters}):", *self._lines, last]), self._constants)
        return self._constants["replay"]

    def _made(self, found: Any) -> str:
        if type(found) is tuple:
            return f"({''.join(f'{self._made(each)}, ' for each in found)})"
        for i, tensor in enumerate(self._given):
            if found is tensor:
                return f"t{i}"
        if not hasattr(found, "handle"):
            return self._constant(found)
        return f"like({self._constant(found)}, {self._name(found.handle)})"


def _like(tensor: Any, handle: Any) -> Any:
    """Returns a tensor of the same type, without making its type and shape anew."""
    made = object.__new__(type(tensor))
    vars(made).update(vars(tensor), handle=handle)
    return made


def remembered(module: Any, member: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what computes the same as `member` of the language, but runs it only once for each kind of arguments.

    `module` is Triton's interpreter.
    """
    semantic, builder = module.interpreter_semantic, module.interpreter_builder
    tensor, known = module.tl.core.tensor, dict[Hashable, Callable[..., Any] | None]()

    def called(*given: Any, **named: Any) -> Any:
        named.pop("_semantic", None)
        if semantic.builder is not builder:  # another function is noted, and this as a part of it
            return member(*given, **named, _semantic=semantic)
        tensors, kinds = list[Any](), list[Hashable]([len(given), *named])
        try:
            for each in (*given, *named.values()) if named else given:
                if type(each) is tensor:
                    tensors.append(each)
                    kinds.append(each.type.name)
                else:
                    kinds.append(_kind(each))
        except TypeError:
            return member(*given, **named, _semantic=semantic)
        key = tuple(kinds)
        replay = known.get(key)
        if replay is not None:
            return replay(*tensors)
        if key in known:  # it cannot be played
            return member(*given, **named, _semantic=semantic)
        own = (module.TensorHandle(each.handle.data, each.handle.dtype) for each in tensors)
        tensors = [tensor(handle, each.type) for handle, each in zip(own, tensors, strict=True)]
        notes, left = Notes(module, tensors), iter(tensors)
        given = tuple(next(left) if type(each) is tensor else each for each in given)
        named = {name: next(left) if type(each) is tensor else each for name, each in named.items()}
        semantic.builder = notes
        try:
            found = member(*given, **named, _semantic=semantic)
        finally:
            semantic.builder = builder
        known[key] = notes.replay(found)
        return found

    called.__dict__["member"] = member
    return called


def _kind(given: Any) -> Hashable:
    """Returns all that is to be known of an argument that is no tensor. Raises TypeError if that is not clear."""
    kind = type(given)
    if kind in _PLAIN or isinstance(given, Enum):
        return kind, given
    if kind is float:
        return kind, given.hex()  # in which 0.0 is not -0.0
    if kind.__name__ == "constexpr":
        return kind, _kind(given.value)
    if kind in (list, tuple):
        return kind, *map(_kind, given)
    if kind is slice:
        return kind, *map(_kind, (given.start, given.stop, given.step))
    if hasattr(given, "primitive_bitwidth") or hasattr(given, "element_ty"):
        return kind, given.name  # a type
    raise TypeError
