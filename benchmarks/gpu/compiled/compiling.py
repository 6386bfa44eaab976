"""Launches without a GPU: each kernel is compiled for one, by the arguments it is launched with, and nothing runs."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from unittest.mock import patch

from triton.backends.compiler import GPUTarget
from triton.compiler import CompiledKernel
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from services.engine.fusion.triton import experts, few_rows, launch

PROCESSORS = 132
"""Of an H100 and an H200."""
_FIRST_OVERLAPPING = 90
_PACKAGES = ("services.engine.fusion.triton", "services.engine.generation.attention.triton")


@dataclass(frozen=True)
class Launch:
    """A kernel as a step launches it."""

    name: str
    programs: int
    kernel: CompiledKernel


@dataclass(frozen=True)
class AbsentGpu:
    """Stands in for the driver of a GPU of that compute capability, as far as a compiler asks it anything."""

    capability: int

    def get_current_device(self) -> int:
        """Returns a number of its own, as what is compiled is kept for each device."""
        return self.capability

    def get_current_stream(self, device: int) -> int:
        """Returns any."""
        return device

    def get_current_target(self) -> GPUTarget:
        """Returns what is compiled for."""
        return GPUTarget("cuda", self.capability, 32)


@contextmanager
def compiling(capability: int) -> Generator[list[Launch]]:
    """Lets kernels that are launched meanwhile be compiled for that capability. Yields the launches so far.

    TRITON_INTERPRET must not have been set when they were imported.
    """
    launches: list[Launch] = []
    run = JITFunction.run

    def compiled(kernel: Any, *arguments: Any, grid: tuple[int, ...], **named: Any) -> None:
        named["warmup"] = True
        made = run(kernel, *arguments, grid=grid, **named)
        assert isinstance(made, CompiledKernel)
        launches.append(Launch(kernel.__name__, math.prod(grid), made))

    with (
        patch.object(driver, "_active", AbsentGpu(capability)),
        patch.object(JITFunction, "run", compiled),
        patch.object(launch, "_overlaps", lambda _: capability >= _FIRST_OVERLAPPING),
        patch.object(few_rows, "processors_of", lambda _: PROCESSORS),
        patch.object(experts, "processors_of", lambda _: PROCESSORS),
    ):
        yield launches


def kernels() -> set[str]:
    """Returns the names of all kernels of the engine: functions of a GPU that no other of them calls."""
    found: dict[str, JITFunction[Any]] = {}
    for package in map(import_module, _PACKAGES):
        for each in iter_modules(package.__path__, f"{package.__name__}."):
            own = vars(import_module(each.name)).items()
            found |= {name: value for name, value in own if isinstance(value, JITFunction)}
    return {name for name in found if not any(f"{name}(" in other.src for key, other in found.items() if key != name)}
