"""The native library compiled for this machine, and for other levels of processors."""

import os

from services.engine.native.library import Library, load_library

OPTIONS = {"native": (), "without bfloat16": ("-mno-avx512bf16",), "without AVX-512": ("-mno-avx512f",)}
"""Compiler options by a readable name."""


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


LIBRARIES: dict[str, Library] = {
    name: library for name, options in OPTIONS.items() if (library := _compiled_for(*options)) is not None
}
"""By the names of `OPTIONS`; empty where there is no compiler, and of one entry where it knows no such options."""
