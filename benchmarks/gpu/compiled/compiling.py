"""Launches without a GPU: each kernel is compiled for the arguments that it is launched with, but does not run."""

import math
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from random import Random
from typing import Any
from unittest.mock import patch

from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import CompiledKernel
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from services.engine.fusion.triton import experts, few_rows, launch

PROCESSORS = 132
"""Multiprocessors of an H100 or H200."""
_FIRST_OVERLAPPING = 90
_PACKAGES = ("services.engine.fusion.triton", "services.engine.generation.attention.triton")


@dataclass(frozen=True)
class Launch:
    """A kernel as a step launches it."""

    name: str
    programs: int
    kernel: CompiledKernel | None
    """None where another variant was drawn."""


class Draw:
    """Draws one of `share` variants of each kernel: a variant is what Triton compiles for other types or constants."""

    def __init__(self, share: int = 1, seed: int = 0) -> None:
        self._share = share
        self._seed = seed
        self._variants: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def leaves_out(self, *, key: str, fn: Any, **_: Any) -> bool:
        """Returns whether a variant is not compiled, as Triton asks before it does."""
        name = fn.jit_function.__name__
        number = self._variants[name].setdefault(key, len(self._variants[name]))
        return number % self._share != Random(f"{self._seed} {name}").randrange(self._share)


@dataclass(frozen=True)
class AbsentGpu:
    """Replaces the driver of a GPU with this compute capability, as far as Triton's compiler asks it."""

    capability: int

    def get_current_device(self) -> int:
        """Returns a different number for each capability, as compiled kernels are cached by device."""
        return self.capability

    def get_current_stream(self, device: int) -> int:
        """Returns any number."""
        return device

    def get_current_target(self) -> GPUTarget:
        """Returns the target to compile for."""
        return GPUTarget("cuda", self.capability, 32)


@contextmanager
def compiling(capability: int, draw: Draw) -> Generator[list[Launch]]:
    """Within the context, launched kernels are compiled for that capability instead, as far as they are drawn. Yields
    the list of launches so far.

    TRITON_INTERPRET must not have been set when the kernels were imported.
    """
    launches: list[Launch] = []
    run = JITFunction.run

    def compiled(kernel: Any, *arguments: Any, grid: tuple[int, ...], **named: Any) -> None:
        named["warmup"] = True
        made = run(kernel, *arguments, grid=grid, **named)
        assert made is None or isinstance(made, CompiledKernel)
        launches.append(Launch(kernel.__name__, math.prod(grid), made))

    with (
        patch.object(driver, "_active", AbsentGpu(capability)),
        patch.object(JITFunction, "run", compiled),
        patch.object(knobs.runtime, "jit_cache_hook", draw.leaves_out),
        patch.object(launch, "_overlaps", lambda _: capability >= _FIRST_OVERLAPPING),
        patch.object(few_rows, "processors_of", lambda _: PROCESSORS),
        patch.object(experts, "processors_of", lambda _: PROCESSORS),
    ):
        yield launches


def kernels() -> set[str]:
    """Returns the names of all kernels of the engine: Triton functions that no other Triton function calls."""
    found: dict[str, JITFunction[Any]] = {}
    for package in map(import_module, _PACKAGES):
        for each in iter_modules(package.__path__, f"{package.__name__}."):
            own = vars(import_module(each.name)).items()
            found |= {name: value for name, value in own if isinstance(value, JITFunction)}
    return {name for name in found if not any(f"{name}(" in other.src for key, other in found.items() if key != name)}
