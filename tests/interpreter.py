"""Triton's interpreter without what it does over and over: it computes the same in a fifth of the time.

Tests of kernels spend nearly all of theirs there, and little of it with numbers.
"""

import os
import sys
from collections.abc import Callable, Hashable
from typing import Any


def quicken() -> None:
    """Lets kernels be interpreted quickly from now on, where they are interpreted at all."""
    module: Any = sys.modules.get("triton.runtime.interpreter")
    if module is None or os.environ.get("TRITON_INTERPRET") != "1" or hasattr(module, "quickened"):
        return
    module.quickened = True
    _patch_once_in_a_launch(module)
    _leave_out_unread_overflows(module)
    _remember_numbers_of_types(module)
    _make_alike_at_once(module.tl.core.block_type, lambda element, shape: (element.name, *map(_number, shape)))
    _make_alike_at_once(module.tl.core.tensor, lambda _, kind: kind.name, own=("handle", "type"))


def _patch_once_in_a_launch(module: Any) -> None:
    """The language is replaced for each function that a kernel calls, by what it was replaced by before."""
    replace, call = module._patch_lang, module.GridExecutor.__call__
    done = set[int]()
    nothing = module._LangPatchScope() if hasattr(module, "_LangPatchScope") else None

    def replaced(function: Any) -> Any:
        place = id(function.__globals__)
        if place in done:
            return nothing
        done.add(place)
        return replace(function)

    def launched(executor: Any, *arguments: Any, **named: Any) -> None:
        done.clear()
        call(executor, *arguments, **named)

    module._patch_lang = replaced
    module.GridExecutor.__call__ = launched


def _leave_out_unread_overflows(module: Any) -> None:
    """Whether a sum or product of integers overflows is computed, and asserted in debug mode alone."""
    if not module.interpreter_builder.options.debug:
        module.interpreter_semantic.binary_op_sanitize_overflow_impl = lambda *_: None


def _remember_numbers_of_types(module: Any) -> None:
    """A table of all types is made for each look into it, and what it is asked for are some of a few types."""
    look, known = module._get_np_dtype, dict[str, Any]()

    def found(kind: Any) -> Any:
        if kind.name not in known:
            known[kind.name] = look(kind)
        return known[kind.name]

    module._get_np_dtype = found


def _make_alike_at_once(kind: type, key: Callable[..., Hashable], own: tuple[str, ...] = ()) -> None:
    """Objects of equal keys have equal attributes, but for `own`, which are arguments: these are made once for all."""
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
