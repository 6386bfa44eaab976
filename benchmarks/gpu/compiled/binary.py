"""What a compiled kernel takes of a multiprocessor, and of what instructions it is made."""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import triton
from triton.compiler import CompiledKernel

SHARED_BYTES = {80: 163 << 10, 89: 99 << 10, 90: 227 << 10, 100: 227 << 10}
"""What a block may have, by compute capability."""
_TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
_REGISTERS = re.compile(r"REG:(\d+)")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")
_OF_TENSORS = re.compile(r"[HQI]G?MMA|UTC[HQI]MMA|OMMA")


@dataclass(frozen=True)
class Binary:
    """Of one kernel, for one compute capability."""

    warps: int
    registers: int
    """Of a thread."""
    shared_bytes: int
    """Of a block."""
    instructions: int
    tensor: int
    """Instructions for tensor cores."""
    loads: int
    """Those that read the GPU's memory."""
    wide_loads: int
    """Of them those that read 16 bytes for each thread."""
    spills: int
    """Those that write to memory, or read, what finds no register."""

    @staticmethod
    def of(kernel: CompiledKernel) -> "Binary":
        """Returns that of a compiled kernel."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / "kernel.cubin"
            file.write_bytes(kernel.asm["cubin"])
            usage, code = _told(file, "-res-usage"), _told(file, "-sass")
        registers = _REGISTERS.search(usage)
        assert registers is not None
        names = Counter(_INSTRUCTION.findall(code))
        loads = {name: count for name, count in names.items() if name.startswith(("LDG.", "LDGSTS."))}
        return Binary(
            warps=kernel.metadata.num_warps,
            registers=int(registers[1]),
            shared_bytes=kernel.metadata.shared,
            instructions=names.total(),
            tensor=sum(count for name, count in names.items() if _OF_TENSORS.match(name)),
            loads=sum(loads.values()),
            wide_loads=sum(count for name, count in loads.items() if "128" in name.split(".")),
            spills=sum(count for name, count in names.items() if name.startswith(("LDL", "STL"))),
        )

    def hindrance(self, capability: int) -> str:
        """Returns why such a GPU does not run it, or is slow at it; nothing if neither is so."""
        if self.shared_bytes > SHARED_BYTES[capability]:
            return f"{self.shared_bytes >> 10} KiB of shared memory"
        return "spills" if self.spills else ""


def _told(file: Path, question: str) -> str:
    return subprocess.run([_TOOL, question, file], check=True, capture_output=True, text=True).stdout
