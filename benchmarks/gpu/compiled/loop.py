"""Finds the loop in which a compiled kernel multiplies, from its instructions."""

import re
import subprocess
from pathlib import Path
from tempfile import NamedTemporaryFile

import triton

_TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
_LABEL = re.compile(r"^(\.L_\w+):")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(.*?);")
_BACK = re.compile(r"\bBRA\b.*?(\.L_\w+)")
_PRODUCT = re.compile(r"\b\w*MMA\b")


def loop_length(code: bytes) -> int:
    """Returns the number of instructions of the shortest loop with tensor core products; 0 if there is none."""
    labels: dict[str, int] = {}
    instructions: list[str] = []
    lengths: list[int] = []
    for line in _listing(code).splitlines():
        if label := _LABEL.match(line.strip()):
            labels[label[1]] = len(instructions)
        elif found := _INSTRUCTION.search(line):
            instructions.append(found[1])
            back = _BACK.search(found[1])
            if back and back[1] in labels:
                loop = instructions[labels[back[1]] :]
                lengths += [len(loop)] * any(map(_PRODUCT.search, loop))
    return min(lengths, default=0)


def _listing(code: bytes) -> str:
    with NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(code)
        return subprocess.run([_TOOL, "-c", file.name], check=True, capture_output=True, text=True).stdout
