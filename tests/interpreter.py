"""Patches Triton's interpreter to skip repeated bookkeeping: same results in a small part of the time.

Without a GPU, tests of kernels spend nearly all of their time in the interpreter's own overhead.
"""

import os
import sys
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from tests.replays import remembered


def quicken() -> None:
    """Applies the patches once, if Triton's interpreter is loaded and in use; otherwise does nothing."""
    module: Any = sys.modules.get("triton.runtime.interpreter")
    if module is None or os.environ.get("TRITON_INTERPRET") != "1" or hasattr(module, "quickened"):
        return
    module.quickened = True
    module._patch_attr = partial(_remember, module)
    _patch_once(module)
    _leave_out_unread_overflows(module)
    _remember_numbers_of_types(module)
    _check_each_size_once(module)
    _look_at_values(module)
    _leave_arguments_where_they_are(module.GridExecutor)
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


def _remember(module: Any, kind: Any, name: str, member: Callable[..., Any], _builder: Any, *scope: Any) -> None:
    """Puts a function of the language into its place, which with Triton 3.6 has no scope."""
    put = scope[0].set_attr if scope else setattr
    put(kind, name, remembered(module, member))


def _leave_arguments_where_they_are(executor: Any) -> None:
    """Copies no argument of a launch, as all are on the CPU."""
    executor._init_args_hst = lambda _, arguments, named: (arguments, named)
    executor._restore_args_dev = lambda *_: None


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


def _check_each_size_once(module: Any) -> None:
    """Makes handles with a single check of each size of numbers for each type."""
    check, known = module._validate_np_data_size, dict[tuple[int, str], bool]()

    def fits(data: Any, kind: Any) -> bool:
        key = data.itemsize, kind.name
        if key not in known:
            known[key] = check(data, kind)
        return known[key]

    def made(handle: Any, data: Any, kind: Any, notes: dict[str, Any] | None = None) -> None:
        handle.data, handle.dtype, handle.attr = data, kind, {} if notes is None else notes
        if not fits(data, kind):
            handle.__post_init__()  # which raises the error

    module._validate_np_data_size = fits
    module.TensorHandle.__init__ = made


def _look_at_values(module: Any) -> None:
    """Tells the notes that are taken when a tensor's value is looked at, since that is another each time."""
    semantic, patch = module.interpreter_semantic, module._patch_lang_tensor

    def patched(kind: type, *scope: Any) -> None:
        patch(kind, *scope)
        for name in ("__bool__", "__index__"):
            setattr(kind, name, looking(getattr(kind, name)))

    def looking(own: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def look(tensor: Any) -> Any:
            # A block of several is true whatever its values.
            if semantic.builder is not module.interpreter_builder and tensor.handle.data.size == 1:
                semantic.builder.usable = False
            return own(tensor)

        return look

    module._patch_lang_tensor = patched


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
