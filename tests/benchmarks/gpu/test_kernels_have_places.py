"""Kernels of all layers are reported together, with the least time of their part of a step."""

import pytest

from benchmarks.gpu.ceilings import Ceilings, Work
from benchmarks.gpu.kernels import Span, kernel_times
from benchmarks.gpu.portions import Portion, Portions
from benchmarks.gpu.shapes import SHAPES

pytest.importorskip("triton")
LAYERS = 4
LAYER = ["multiply_rows", "attend_token", "nvjet_tst", "splitKreduce_kernel", "multiply_rows", "multiply_rows"]
NAMES = ["look_up", *LAYER * LAYERS, "multiply_rows", "find_likeliest"]
CEILINGS = Ceilings(copy_bytes=1e12, matmul_flops=1e15)
MICROSECOND = 1e6
"""Bytes that are moved in one."""


def portions() -> Portions:
    products = [Portion(name, i * MICROSECOND, 0) for i, name in enumerate(("qkv", "output", "up", "down"), 1)]
    return Portions(products, [], Portion("attention", 5 * MICROSECOND, 0), Portion("head", 6 * MICROSECOND, 0))


def step(names: list[str], begin: float) -> list[Span]:
    """Each kernel begins 2 us before the previous one ends, and ends 10 us after it."""
    return [(begin + 10 * i - 2, begin + 10 * i + 10, name) for i, name in enumerate(names)]


def test_each_place_of_a_layer_is_one_kernel_with_its_part() -> None:
    length = 10 * len(NAMES)
    found = kernel_times([step(NAMES, i * length) for i in range(3)], LAYERS, portions(), CEILINGS)
    assert [(one.name, one.part, one.calls, one.allowed) for one in found] == [
        ("multiply_rows", "qkv", LAYERS, 1),
        ("attend_token", "attention", LAYERS, 5),
        ("nvjet_tst", "output", LAYERS, 2),
        ("splitKreduce_kernel", "", LAYERS, 0),
        ("multiply_rows", "up", LAYERS, 3),
        ("multiply_rows", "down", LAYERS, 4),
        ("look_up", "", 1, 0),
        ("multiply_rows", "head", 1, 6),
        ("find_likeliest", "", 1, 0),
    ]
    assert {(one.each, one.behind) for one in found} == {(12, 10)}
    assert sum(one.calls * one.behind for one in found) == length


def test_layers_that_differ_are_told_by_names() -> None:
    other = [*NAMES[:-4], "gate_row", *NAMES[-4:]]
    found = kernel_times([step(other, i * 1000) for i in range(2)], LAYERS, portions(), CEILINGS)
    assert {(one.name, one.calls, one.part) for one in found} >= {("attend_token", LAYERS, ""), ("gate_row", 1, "")}
    assert sum(one.calls for one in found) == len(other)


@pytest.mark.parametrize("shape", ["1B", "8B", "8x1B"])
def test_parts_add_up_to_the_roofline(shape: str) -> None:
    config, rows, context = SHAPES[shape](), 32, 1024
    layers, roofline = config.num_hidden_layers, Work.of(config)
    own = Portions.decoding(config, rows, context, narrow=False)
    of_layer = [*own.products, *own.experts, own.attention]
    router = 2 * getattr(config, "num_local_experts", 0) * config.hidden_size
    moved = layers * (sum(one.moved for one in of_layer) + router) + own.head.moved
    assert moved / CEILINGS.copy_bytes == pytest.approx(roofline.decode_seconds(CEILINGS, rows, context))
    reading = Portions.reading(config, 2, 300, 700, narrow=False)
    flops = layers * sum(one.flops for one in (*reading.products, *reading.experts, reading.attention))
    between = roofline.prompt_flops(2, 1000) - roofline.prompt_flops(2, 300)
    assert flops == pytest.approx(between, rel=2e-3)  # which counts a router too
