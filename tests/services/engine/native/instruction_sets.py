"""The native library as this machine gets it, and as others would."""

import os

from services.engine.native.library import Library, load_library


def _compiled_for(*options: str) -> Library | None:
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
    name: library
    for name, library in {
        "native": load_library(),
        "without bfloat16": _compiled_for("-mno-avx512bf16"),
        "without AVX-512": _compiled_for("-mno-avx512f"),
    }.items()
    if library is not None
}
"""By a name for people; empty where there is no compiler, and of one entry where it knows no such options."""
