"""Loads the compiled C library: from the image, or compiled for this machine at first use and cached.

The compiler is `CC`, else `cc`. Without one, `load_library` returns None and the engine uses torch alone.
"""

import ctypes
import fcntl
import hashlib
import logging
import os
import platform
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import torch

from services.engine.native.levels import levels, usable

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "native.c"
BUILT = FOLDER / "built"
"""Folder of an image with the library for several kinds of processors; a checkout does not have it."""
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fPIC", "-shared")
NATIVE = ("-march=native",)
THREADING = ("-fopenmp",)
"""Omitted if the compiler has no OpenMP; the library then uses one thread."""
KINDS = {torch.float32: "f32", torch.bfloat16: "bf16"}
UNIT = 4
"""Bytes of a unit, in which the library reads memory; see lanes.h."""
_QUIET = ("-Wno-psabi",)
"""Silences pages of warnings about calls between object files, of which there is only one."""
_COMPILE_SECONDS = 300


class Library:
    """The functions of the library, by element type. `threads` is how many threads each call may use."""

    def __init__(self, loaded: ctypes.CDLL, threads: int = 1) -> None:
        self.threads = threads
        pointer, integer, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float

        def functions(name: str, *arguments: type) -> "dict[torch.dtype, ctypes._NamedFuncPointer]":
            found = {}
            for dtype, kind in KINDS.items():
                function = getattr(loaded, f"{name}_{kind}")
                function.argtypes, function.restype = arguments, None
                found[dtype] = function
            return found

        p, i = pointer, integer
        self.linear = functions("linear", p, p, i, i, p, p, i, i)
        self.rms_norm = functions("rms_norm", p, i, p, real, i, i, p, p, i)
        self.rotate = functions("rotate", p, p, i, p, i, p, p)
        self.store = functions("store_tokens", p, p, i, p, i, p, i, p, p)
        self.attend = functions("attend", p, p, i, p, i, p, p, p, i, i)
        self.decode = functions("decode", p, p, p, i, p, p, p, p, p, p, p)
        self.decode_whole = functions("decode_whole", p, p, i, p, i, p, p, i, p, p, i, p, p, p, p, i)
        self.encode = functions("encode", p, p, p, i, i, p, p, p, i)
        self.encoder_workspace = functions("encoder_workspace", p, i, i, i)
        for function in self.encoder_workspace.values():
            function.restype = i
        self.decoder_workspace = loaded.decoder_workspace
        self.decoder_workspace.argtypes, self.decoder_workspace.restype = (pointer,), integer
        self.linear_pays = {
            dtype: bool(ctypes.c_int64.in_dll(loaded, f"linear_pays_{kind}").value) for dtype, kind in KINDS.items()
        }
        """Whether its linear layers are faster on this machine than torch's, by element type."""


@cache
def load_library() -> Library | None:
    """Returns the library, compiled now if this machine has none yet; None if it cannot be compiled."""
    try:
        return Library(ctypes.CDLL(str(_prebuilt() or _compiled())))
    except (OSError, subprocess.SubprocessError) as error:
        compiler = _compiler()[0]
        if isinstance(error, FileNotFoundError) and error.filename == compiler:
            told = f"There is no compiler `{compiler}`: install one for C, or name another by CC."
        else:
            told = f"{error} {(getattr(error, 'stderr', None) or b'').decode()}"
        log.warning("The native library cannot be compiled; torch alone is slower. %s", told)
        return None


def build_levels(folder: Path = BUILT) -> list[Path]:
    """Compiles the library for every level of this architecture into `folder`, and returns the files.

    Raises:
        OSError, subprocess.SubprocessError: there is no compiler, or it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    compiler, made = _compiler(), []
    for level in levels():
        target = folder / f"{level.name}-{_key(level.flags)}.so"
        _compile(compiler, level.flags, target)
        made.append(target)
    return made


def _prebuilt() -> Path | None:
    """Returns the image's best library for this processor, if it was compiled from this source."""
    paths = (BUILT / f"{level.name}-{_key(level.flags)}.so" for level in usable(frozenset(_features().split())))
    return next((path for path in paths if path.exists()), None)


def _compiled() -> Path:
    """Returns the library of this machine. Its name has a digest of all it depends on, so machines can share a home
    folder.
    """
    compiler = _compiler()
    target = _folder() / f"sensorium-{_key(NATIVE, *compiler, platform.machine(), _features())}.so"
    if target.exists():
        return target
    with _alone(target.parent):
        if not target.exists():
            log.info("Compiling the kernels for this processor, once: some 20 seconds of one core.")
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                made = Path(scratch) / target.name
                _compile(compiler, NATIVE, made)
                # An atomic rename: on file systems without locks, another process may compile it at the same time.
                made.replace(target)
    return target


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Holds a lock, so that of several processes that start together only one compiles."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _compiler() -> list[str]:
    return shlex.split(os.environ.get("CC") or "cc")


def _key(flags: tuple[str, ...], *rest: str) -> str:
    """Returns a digest of the source, the flags and `rest`."""
    texts = [path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in {".c", ".h", ".inc"}]
    options = " ".join([*FLAGS, *THREADING, *flags, *rest]).encode()
    return hashlib.sha256(b"\0".join([*texts, options])).hexdigest()[:16]


def _compile(compiler: list[str], flags: tuple[str, ...], target: Path) -> None:
    for threading in (THREADING, ()):
        command = [*compiler, *_QUIET, *FLAGS, *flags, *threading, "-o", str(target), str(SOURCE), "-lm"]
        try:
            _run(command)
        except subprocess.CalledProcessError:
            if not threading:
                raise
        else:
            return


def _run(command: list[str]) -> None:
    """Runs a compiler. If that takes too long, it kills the compiler and all processes that it started."""
    with subprocess.Popen(  # noqa: S603 - fixed
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            _, said = process.communicate(timeout=_COMPILE_SECONDS)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)


def _folder() -> Path:
    """Returns a writable folder: the user's cache, or a private one of this process."""
    try:
        # A user without an entry and without HOME has no home at all.
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sensorium"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(home, os.W_OK):
            return home
        reason = f"{home} cannot be written to"
    except (OSError, RuntimeError) as error:
        reason = str(error)
    log.warning(
        "Kernels are compiled anew at each start, as %s. XDG_CACHE_HOME names a folder that keeps them.", reason
    )
    return Path(tempfile.mkdtemp(prefix="sensorium-"))


def _features() -> str:
    """Returns the processor's features as Linux lists them, separated by spaces; an empty string on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.startswith(("flags", "Features"))), "").partition(":")[2].strip()
