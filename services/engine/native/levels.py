"""Kinds of processors (levels) for which an image carries a compiled library, one of which is chosen at load.

`python -m services.engine.native` compiles them into the folder `built`. A checkout has none: there the library is
compiled for the machine itself, see library.py.
"""

import platform
from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """A kind of processors: compiler flags for it, and the features that Linux lists for every such processor."""

    name: str
    flags: tuple[str, ...]
    needs: frozenset[str]


_V3 = frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_V4_BF16 = _V4 | {"avx512_bf16"}
_LEVELS = {
    # With AMX, oneDNN's products of bfloat16 are faster. A library of its own level says so (`linear_pays_bf16`).
    "x86_64": (
        Level("v4-amx", ("-march=x86-64-v4", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"), _V4_BF16 | {"amx_bf16"}),
        Level("v4-bf16", ("-march=x86-64-v4", "-mavx512bf16"), _V4_BF16),
        Level("v4", ("-march=x86-64-v4",), _V4),
        Level("v3", ("-march=x86-64-v3",), _V3),
    ),
    "aarch64": (Level("v8", ("-march=armv8-a",), frozenset({"asimd"})),),
}


def levels(machine: str | None = None) -> tuple[Level, ...]:
    """Returns the levels of an architecture, by default of this machine's, the most capable first."""
    return _LEVELS.get(machine or platform.machine(), ())


def usable(features: Set[str], machine: str | None = None) -> list[Level]:
    """Returns the levels that a processor with these features can run, the most capable first."""
    return [level for level in levels(machine) if level.needs <= features]
