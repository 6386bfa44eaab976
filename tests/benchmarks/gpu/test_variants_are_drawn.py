"""What is left out of a compilation for lack of time is compiled in another one."""

from collections import Counter
from types import SimpleNamespace

import pytest

pytest.importorskip("triton")

from benchmarks.gpu.compiled.compiling import Draw

KERNELS = {"attend": 3, "multiply": 10, "norm": 1}
"""How many variants each has."""


def taken(share: int, seed: int) -> set[tuple[str, int]]:
    draw, found = Draw(share, seed), set[tuple[str, int]]()
    for _ in range(2):  # as often as a step launches it
        for name, count in KERNELS.items():
            for i in range(count):
                if not draw.leaves_out(key=str(i), fn=SimpleNamespace(jit_function=SimpleNamespace(__name__=name))):
                    found.add((name, i))
    return found


def test_each_variant_is_drawn_as_often_as_others() -> None:
    everything = {(name, i) for name, count in KERNELS.items() for i in range(count)}
    assert taken(1, 5) == everything
    found = Counter(variant for seed in range(300) for variant in taken(3, seed))
    assert {*found} == everything
    assert min(found.values()) > 60 and max(found.values()) < 140


def test_a_kernel_of_several_variants_is_never_left_out() -> None:
    for seed in range(20):
        drawn = Counter(name for name, _ in taken(3, seed))
        assert drawn["attend"] == 1
        assert drawn["multiply"] in (3, 4)
