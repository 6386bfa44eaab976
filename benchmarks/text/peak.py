"""Measures the peak rate of multiplications of a core, with a loop that does nothing else."""

import ctypes
import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

import torch

from services.engine.native.library import FLAGS, FOLDER, KINDS, NATIVE

_SOURCE = Path(__file__).with_name("peak.c")
_TIMES = 1_000_000
_TRIES = 10
_ONE = {torch.float32: 0x3F800000, torch.bfloat16: 0x3F803F80}


def peak(dtype: torch.dtype) -> float:
    """Returns multiplications per second of CPU time on this thread's core; the best of several tries."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "peak.so"
        command = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, *NATIVE, f"-I{FOLDER}", "-o", target, _SOURCE]
        subprocess.run(command, check=True)
        multiply = getattr(ctypes.CDLL(str(target)), f"multiply_{KINDS[dtype]}")
    multiply.argtypes, multiply.restype = (ctypes.c_int64, ctypes.c_uint32, ctypes.c_void_p), ctypes.c_int64
    sums, best = (ctypes.c_float * 16)(), 0.0
    for _ in range(_TRIES):
        began = time.thread_time()
        count = multiply(_TIMES, _ONE[dtype], sums)
        best = max(best, count / (time.thread_time() - began))
    return best
