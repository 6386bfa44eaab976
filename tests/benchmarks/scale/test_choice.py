from statistics import mean

from benchmarks.scale.choice import Shape, waits
from benchmarks.scale.slices import roll_out_bytes, slice_bytes


def test_gateways_that_do_not_talk_choose_worse_and_the_blind_worst() -> None:
    one, many, blind = (
        waits(shape, seconds=300, seed=3) for shape in (Shape(1, 20), Shape(20, 20), Shape(20, 20, blind=True))
    )
    assert one.waited < many.waited < blind.waited
    assert one.p99 < many.p99 < blind.p99


def test_replicas_that_belong_to_one_gateway_each_are_as_if_it_were_alone() -> None:
    alone = mean(waits(Shape(1, 8), seconds=300, seed=seed).waited for seed in range(3))
    apart = waits(Shape(10, 80, sharing=1), seconds=150, seed=0).waited
    assert abs(alone - apart) < 0.08


def test_with_parts_many_gateways_choose_far_better() -> None:
    without, parted = (waits(Shape(50, 200, sharing=sharing), seconds=60, seed=2).waited for sharing in (0, 10))
    assert parted < without / 2


def test_the_same_seed_gives_the_same_waits() -> None:
    shape = Shape(3, 10, skew=0.3)
    assert waits(shape, 100, seed=1) == waits(shape, 100, seed=1) != waits(shape, 100, seed=2)


def test_a_full_slice_grows_with_its_endpoints() -> None:
    assert 10_000 < slice_bytes(100) - slice_bytes(50) < 20_000
    assert roll_out_bytes(2, 1000) == 2 * 3000 * slice_bytes(100)
