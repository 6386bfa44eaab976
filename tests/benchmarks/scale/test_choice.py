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
    alone = mean(waits(Shape(1, 2), seconds=1000, seed=seed).waited for seed in range(10))
    apart = waits(Shape(10, 20, subset=2), seconds=1000, seed=0).waited
    crowd = waits(Shape(10, 20), seconds=1000, seed=0).waited
    assert abs(alone - apart) < 0.08
    assert crowd < apart  # more replicas to choose from, and not yet too many gateways


def test_the_same_seed_gives_the_same_waits() -> None:
    shape = Shape(3, 10, skew=0.3)
    assert waits(shape, 100, seed=1) == waits(shape, 100, seed=1) != waits(shape, 100, seed=2)


def test_a_full_slice_grows_with_its_endpoints() -> None:
    assert 10_000 < slice_bytes(100) - slice_bytes(50) < 20_000
    assert roll_out_bytes(2, 1000) == 2 * 3000 * slice_bytes(100)
