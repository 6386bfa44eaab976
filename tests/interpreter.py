"""Patches Triton's interpreter to skip repeated bookkeeping: same results in a small part of the time.

Without a GPU, tests of kernels spend nearly all of their time in the interpreter's own overhead.
"""

import os
import sys
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any

Way = Callable[[Any], Any]
"""What makes one operand ready for an operation with the other."""


def quicken() -> None:
    """Applies the patches once, if Triton's interpreter is loaded and in use; otherwise does nothing."""
    module: Any = sys.modules.get("triton.runtime.interpreter")
    if module is None or os.environ.get("TRITON_INTERPRET") != "1" or hasattr(module, "quickened"):
        return
    module.quickened = True
    _patch_once(module)
    _leave_out_unread_overflows(module)
    _remember_numbers_of_types(module)
    _remember_how_operands_meet(type(module.interpreter_semantic))
    _make_alike_at_once(module.tl.core.block_type, lambda element, shape: (element.name, *map(_number, shape)))
    _make_alike_at_once(module.tl.core.tensor, lambda _, kind: kind.name, own=("handle", "type"))


def _patch_once(module: Any) -> None:
    """Patches `triton.language` once for each module of kernels, and leaves it patched.

    The interpreter does so for each launch and each function called.
    """
    replace, done = module._patch_lang, set[int]()
    nothing = module._LangPatchScope() if hasattr(module, "_LangPatchScope") else None

    def replaced(function: Any) -> Any:
        place = id(function.__globals__)
        if place not in done:
            done.add(place)
            replace(function)
        return nothing

    module._patch_lang = replaced


def _leave_out_unread_overflows(module: Any) -> None:
    """Skips the overflow checks of integer arithmetic outside debug mode, where their results are never asserted."""
    if not module.interpreter_builder.options.debug:
        module.interpreter_semantic.binary_op_sanitize_overflow_impl = lambda *_: None


def _remember_numbers_of_types(module: Any) -> None:
    """Caches the NumPy dtype of each Triton type: the interpreter rebuilds its whole table for every look-up."""
    look, known = module._get_np_dtype, dict[str, Any]()

    def found(kind: Any) -> Any:
        if kind.name not in known:
            known[kind.name] = look(kind)
        return known[kind.name]

    module._get_np_dtype = found


def _remember_how_operands_meet(semantic: Any) -> None:
    """Caches how two operands are cast and broadcast to each other, which their types and numbers of Python decide."""
    meet, known = semantic.binary_op_type_checking_impl, dict[Hashable, tuple[Way, Way]]()

    @wraps(meet)
    def met(self: Any, left: Any, right: Any, *flags: bool, **named: bool) -> tuple[Any, Any]:
        kinds = _kind(self, left), _kind(self, right)
        if None in kinds:
            return meet(self, left, right, *flags, **named)
        key = (*kinds, flags, *named.items())
        if key not in known:
            found = meet(self, left, right, *flags, **named)
            known[key] = _way(self, left, found[0]), _way(self, right, found[1])
            return found
        ways = known[key]
        return ways[0](left), ways[1](right)

    semantic.binary_op_type_checking_impl = met


def _kind(semantic: Any, operand: Any) -> Hashable:
    """Returns all that decides what becomes of an operand; None if nothing is known of it."""
    if isinstance(operand, semantic.tensor):
        return operand.type.name
    if type(operand) in (bool, int):
        return type(operand), operand
    return operand.hex() if type(operand) is float else None  # in which 0.0 is not -0.0


def _way(semantic: Any, given: Any, found: Any) -> Way:
    """Returns what makes of operands like `given` what has been `found` of it."""
    if found is given:
        return lambda operand: operand
    if not isinstance(given, semantic.tensor):
        found.handle.data.flags.writeable = False  # since it is handed out again
        return lambda _: found
    kind, builder, shape = found.type, semantic.builder, getattr(found.type, "shape", None)

    def ready(operand: Any) -> Any:
        handle = semantic.cast(operand, kind.scalar).handle
        if not given.type.is_block() and kind.is_block():
            handle = builder.create_splat(kind, handle)
        elif given.type.is_block() and given.type.shape != shape:
            handle = builder.create_broadcast(handle, shape)
        return semantic.make_tensor(handle, kind)

    return ready


def _make_alike_at_once(kind: type, key: Callable[..., Hashable], own: tuple[str, ...] = ()) -> None:
    """Caches what `kind.__init__` computes, by `key` of its arguments.

    Attributes in `own` are not cached: they are set from the arguments, which are passed in the same order.
    """
    make, known = kind.__init__, dict[Hashable, dict[str, Any]]()

    def made(self: Any, *arguments: Any) -> None:
        like = key(*arguments)
        if like not in known:
            make(self, *arguments)
            known[like] = {name: value for name, value in vars(self).items() if name not in own}
        else:
            vars(self).update(known[like], **dict(zip(own, arguments, strict=True) if own else ()))

    kind.__init__ = made


def _number(size: Any) -> Any:
    return getattr(size, "value", size)
