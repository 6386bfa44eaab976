"""Patches Triton's interpreter to skip repeated bookkeeping: same results in a fifth of the time.

Without a GPU, tests of kernels spend nearly all of their time in the interpreter's own overhead.
"""

import os
import sys
from collections.abc import Callable, Hashable
from typing import Any


def quicken() -> None:
    """Applies the patches once, if Triton's interpreter is loaded and in use; otherwise does nothing."""
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
    """Patches `triton.language` once per module in a launch: the interpreter repeats it for each function called."""
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
