"""The compiled attention kernel: built for this machine at first use, and kept.

A C compiler is asked for by `CC`, else `cc`. Where there is none, `load_kernel` returns None and the engine takes its
reference backend, which needs torch alone.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("paged_attention.c")
PAGE_SIZE = 16
MAX_GROUP = 32
"""Queries that share a key, at most."""
MAX_WIDTH = 576
"""Width of a key or a value, at most."""
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-fno-associative-math", "-fPIC", "-shared")
_COMPILE_SECONDS = 120


class KernelRow(ctypes.Structure):
    """`Row` of paged_attention.c."""

    _fields_ = (
        ("pages", ctypes.c_void_p),
        ("start", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("context", ctypes.c_int64),
    )


class KernelLayer(ctypes.Structure):
    """`Layer` of paged_attention.c."""

    _fields_ = (
        ("heads", ctypes.c_int64),
        ("kv_heads", ctypes.c_int64),
        ("key_width", ctypes.c_int64),
        ("value_width", ctypes.c_int64),
        ("window", ctypes.c_int64),
        ("scaling", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("sinks", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("bias_tokens", ctypes.c_int64),
        ("bias_width", ctypes.c_int64),
    )


@cache
def load_kernel() -> ctypes.CDLL | None:
    """Returns the kernel, compiling it if this machine has none yet; None where it cannot be compiled."""
    try:
        library = ctypes.CDLL(str(_compiled()))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or b""
        log.warning("The attention kernel cannot be compiled; slower attention is used. %s %s", error, said.decode())
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    for kind in ("f32", "bf16"):
        # By attribute, which is kept; by item, ctypes makes a new function without these types each time.
        attend, store = getattr(library, f"attend_{kind}"), getattr(library, f"store_{kind}")
        attend.argtypes = (pointer, pointer, integer, pointer, pointer, pointer, pointer)
        store.argtypes = (pointer, pointer, integer, pointer, pointer, pointer, pointer)
        attend.restype = store.restype = None
    return library


def _compiled() -> Path:
    """Returns the library, named by everything it depends on, so that a shared home never mixes machines."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    key = hashlib.sha256(b"\0".join([SOURCE.read_bytes(), " ".join(compiler).encode(), _machine()]))
    target = _folder() / f"paged_attention-{key.hexdigest()[:16]}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            command = [*compiler, *FLAGS, "-o", str(made), str(SOURCE), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=_COMPILE_SECONDS)  # noqa: S603 - fixed
            # In one step, for other processes may be compiling too.
            made.replace(target)
    return target


def _folder() -> Path:
    """Returns a folder that can be written to: the user's cache, or a private one for this process."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensorium"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(home, os.W_OK):
            return home
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="sensorium-"))


def _machine() -> bytes:
    """Returns what tells processors apart: the features Linux lists, or the name of the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {features}".encode()
