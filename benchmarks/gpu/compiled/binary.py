"""The resources and instructions of a compiled kernel."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import triton
from triton.compiler import CompiledKernel

from benchmarks.gpu.compiled.loop import loop_length

SHARED_BYTES = {80: 163 << 10, 89: 99 << 10, 90: 227 << 10, 100: 227 << 10}
"""Shared memory that a block may use, by compute capability."""
_FEW_SPILLED = 64
"""Spilled bytes per thread that are accepted: so few are written and read once, outside of loops."""
_TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")
_OF_TENSORS = re.compile(r"^\s*(?:mma\.sync|wgmma\.mma_async|tcgen05\.mma)", re.MULTILINE)
_LOADS = re.compile(r"\bld(?:\.volatile)?\.global\.\S+|\bcp\.async\.c[ag]\.shared\.global .*")
_WIDE = re.compile(r"\.v4\.b32|\.v2\.b64|, 0x10\b")


@dataclass(frozen=True)
class Binary:
    """A kernel compiled for one compute capability."""

    warps: int
    registers: int
    """Per thread."""
    spilled_bytes: int
    """Per thread, of numbers that found no register."""
    shared_bytes: int
    """Per block."""
    tensor: int
    """Instructions for tensor cores."""
    loads: int
    """Instructions that load from the GPU's memory."""
    wide_loads: int
    """Those of them that load 16 bytes per thread."""
    loop: int
    """Instructions of the shortest loop with tensor core instructions; 0 if there is none, or it was not counted."""

    @staticmethod
    def of(kernel: CompiledKernel, *, loop: bool) -> "Binary":
        """Returns the figures of a compiled kernel. It is disassembled, in half a second, only for its `loop`."""
        code, usage = kernel.asm["ptx"], _USAGE.search(_usage(kernel.asm["cubin"]))
        assert usage is not None
        loads = _LOADS.findall(code)
        return Binary(
            warps=kernel.metadata.num_warps,
            registers=int(usage[1]),
            spilled_bytes=int(usage[2]),
            shared_bytes=kernel.metadata.shared,
            tensor=len(_OF_TENSORS.findall(code)),
            loads=len(loads),
            wide_loads=sum(bool(_WIDE.search(load)) for load in loads),
            loop=loop_length(kernel.asm["cubin"]) if loop and "mma" in code else 0,
        )

    def hindrance(self, capability: int) -> str:
        """Returns why a GPU of this capability cannot run it, or not fast; an empty string if it can."""
        if self.shared_bytes > SHARED_BYTES[capability]:
            return f"{self.shared_bytes >> 10} KiB of shared memory"
        return "spills" if self.spilled_bytes > _FEW_SPILLED else ""


def _usage(code: bytes) -> str:
    with NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(code)
        return subprocess.run([_TOOL, "-res-usage", file.name], check=True, capture_output=True, text=True).stdout
