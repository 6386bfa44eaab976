"""The native library compiled for this machine, and for other levels of processors."""

import os
import subprocess
from collections.abc import Iterator

from services.engine.native.library import NATIVE, Library, _compiler, load_library

_OPTIONS = {"native": (), "without bfloat16": ("-mno-avx512bf16",), "without AVX-512": ("-mno-avx512f",)}
"""Compiler options by a readable name."""


def _differing() -> Iterator[str]:
    """Yields the names of options with which this processor gets other instructions than with those before."""
    known: set[bytes] = set()
    for name, options in _OPTIONS.items():
        command = [*_compiler(), *NATIVE, *options, "-dM", "-E", "-x", "c", os.devnull]
        try:
            defined = subprocess.run(command, check=True, capture_output=True).stdout
        except (OSError, subprocess.CalledProcessError):  # other architectures do not have these options
            defined = None
        if not options or (defined is not None and defined not in known):
            yield name
        if defined is not None:
            known.add(defined)


def _compiled_for(*options: str) -> Library | None:
    if not options:
        return load_library()
    own = os.environ.get("CC")
    os.environ["CC"] = " ".join([own or "cc", *options])
    try:
        return load_library.__wrapped__()
    finally:
        if own is None:
            del os.environ["CC"]
        else:
            os.environ["CC"] = own


DIFFERING = tuple(_differing())
"""Names of the libraries that are not alike on this processor: one, if it has no AVX-512."""
LIBRARIES: dict[str, Library] = {
    name: library for name in DIFFERING if (library := _compiled_for(*_OPTIONS[name])) is not None
}
"""By those names; empty where there is no compiler."""
