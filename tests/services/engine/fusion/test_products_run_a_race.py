"""A kernel replaces torch's product of a few rows where the race at load finds it faster."""

import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.verification import engine_logits, model_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.loading import load_language_model
from tests.services.engine.kernel_devices import DEVICES, shorten

pytest.importorskip("triton")
from services.engine.fusion.substitution import Substitutions
from services.engine.fusion.triton import race as racing
from services.engine.fusion.triton.few_rows import FewRows, Tile, wide_tile_for, wide_tiles_for
from services.engine.fusion.triton.linear import GpuLinear
from services.engine.fusion.triton.mlp import GpuMlp
from services.engine.fusion.triton.race import race
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.native.linear import Gate

PAGE = 16
Work = Callable[[], object]


@pytest.fixture(autouse=True)
def seed() -> None:
    drawn = random.SystemRandom().randrange(1 << 30)
    print(f"seed {drawn}")  # shown where a test fails
    torch.manual_seed(drawn)


@pytest.fixture
def ours() -> list[int]:
    """The number of rows of each call of a kernel."""
    return []


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch, ours: list[int]) -> None:
    call = FewRows.__call__

    def counted(kernel: FewRows, rows: torch.Tensor, **named: object) -> torch.Tensor:
        ours.append(len(rows))
        return call(kernel, rows, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(FewRows, "__call__", counted)


def timed(ours: list[int], fast: set[int]) -> Callable[[Work], Callable[[], float]]:
    """Returns a timer: 1 s for torch's products, 0.9 s for kernels of `fast` numbers of rows, 1.1 s for others."""

    def timer(work: Work) -> Callable[[], float]:
        before = len(ours)
        work()
        seconds = 0.9 if set(ours[before:]) & fast else 1.1 if ours[before:] else 1.0
        return lambda: seconds

    return timer


def test_a_kernel_is_used_for_as_many_rows_as_it_is_faster_for(ours: list[int]) -> None:
    model = nn.ModuleList([_layer(64, 48), _layer(64, 48), _layer(48, 64)])
    race(model, timed(ours, {32}))
    first, second, other = model
    for linear in (first, second, other):
        kernel = linear.few_rows
        assert isinstance(kernel, FewRows)
        assert [kernel.takes(count) for count in (0, 1, 16, 17, 32, 33)] == [False, False, False, True, True, False]
    rows = torch.randn(20, 64, dtype=torch.float16)
    with torch.inference_mode():
        exact, residual = functional.linear(rows, first.weight), torch.randn(20, 48, dtype=torch.float16)
        sums = residual + exact
        del ours[:]
        torch.testing.assert_close(first(rows), exact, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(first.add_to(residual, rows), sums, rtol=1e-2, atol=1e-2)
        assert ours == [20, 20]
        first(rows[:16])
        assert ours == [20, 20]


def test_each_contestant_is_recorded_once_and_judged_by_the_best_of_its_turns() -> None:
    recorded: list[int] = []
    """How often each contestant ran: torch's product and the kernel, for 16 rows and for 32."""

    def timer(_: Work) -> Callable[[], float]:
        number = len(recorded)
        recorded.append(0)

        def seconds() -> float:
            recorded[number] += 1
            return 0.9 if number == 1 and recorded[number] == 2 else 1.0 + 0.1 * (number % 2)

        return seconds

    model = nn.ModuleList([_layer(64, 48)])
    race(model, timer, seconds=0)  # no time to try other tiles
    assert recorded == [3] * 4
    kernel = model[0].few_rows
    assert isinstance(kernel, FewRows)
    assert [kernel.takes(count) for count in (16, 17)] == [True, False]


@pytest.mark.parametrize(("saved", "winner"), [(0.05, 1), (0.01, 0)])
def test_another_tile_is_used_where_it_saves_enough(saved: float, winner: int) -> None:
    tiles = [wide_tiles_for(size, 48, 64, 1) for size in (16, 32)]
    times = iter([time for own in tiles for time in (1.0, 0.9, 0.9 * (1 - saved), *[0.95] * (len(own) - 2))])
    model = nn.ModuleList([_layer(64, 48)])
    race(model, lambda _: partial(lambda seconds: seconds, next(times)))
    kernel = model[0].few_rows
    assert isinstance(kernel, FewRows)
    assert kernel.tiles == {16: tiles[0][winner], 32: tiles[1][winner]}


def test_a_tile_that_fails_or_is_wrong_is_left_out_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    (own, broken, wrong, *_), call = wide_tiles_for(16, 48, 64, 1), FewRows.__call__

    def failing(kernel: FewRows, rows: torch.Tensor) -> torch.Tensor:
        if kernel.tiles.get(16) == broken:
            raise RuntimeError("out of resources")
        return call(kernel, rows) * (1.1 if kernel.tiles.get(16) == wrong else 1.0)

    monkeypatch.setattr(FewRows, "__call__", failing)
    count = iter(range(1000))
    model = nn.ModuleList([_layer(64, 48)])
    race(model, lambda _: partial(lambda seconds: seconds, 1.0 if next(count) == 0 else 0.9))
    kernel = model[0].few_rows
    assert isinstance(kernel, FewRows)
    assert kernel.tiles[16] == own


def test_torchs_product_stays_where_a_kernel_is_not_faster_or_wrong(
    ours: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.ModuleList([_layer(64, 48), _layer(48, 64)])
    race(model, timed(ours, set()))
    assert [linear.few_rows for linear in model] == [None, None]

    call = FewRows.__call__
    monkeypatch.setattr(FewRows, "__call__", lambda kernel, rows, **named: call(kernel, rows, **named) * 1.1)
    race(model, timed(ours, {16, 32}))
    assert [linear.few_rows for linear in model] == [None, None]


def test_a_kernel_may_take_as_much_longer_as_torchs_product_holds_up_its_neighbours() -> None:
    model = nn.ModuleList([_layer(64, 48), _layer(64, 48), _layer(48, 64)])
    times = iter([1.0, 1.0 + 1.5e-6] * 4)  # torch's product and the kernel, for two layers and then for one
    race(model, lambda _: partial(lambda seconds: seconds, next(times)), seconds=0)
    assert [linear.few_rows is None for linear in model] == [False, False, True]


def test_one_kernel_that_fails_costs_its_own_layers_alone(ours: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, call = nn.ModuleList([_layer(64, 48), _layer(48, 64)]), FewRows.__call__

    def failing(kernel: FewRows, rows: torch.Tensor, **named: object) -> torch.Tensor:
        if rows.shape[1] == 48:
            raise RuntimeError("out of resources")
        return call(kernel, rows, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(FewRows, "__call__", failing)
    race(model, timed(ours, {16, 32}))
    assert [linear.few_rows is None for linear in model] == [False, True]


@pytest.mark.parametrize(("seconds", "within"), [(0.99, True), (1.0, False)])
def test_gates_are_within_a_product_where_that_takes_less(
    ours: list[int], monkeypatch: pytest.MonkeyPatch, seconds: float, within: bool
) -> None:
    gated, call = list[Tile | None](), FewRows.__call__

    def noted(kernel: FewRows, rows: torch.Tensor, **named: Any) -> torch.Tensor:
        if "gate" in named:
            gated.append(kernel.tiles[16 if len(rows) <= 16 else 32])
        return call(kernel, rows, **named)

    def timer(work: Work) -> Callable[[], float]:
        del gated[:], ours[:]
        work()
        taken = seconds if gated else 2.0 if ours else 1.0  # so torch wins the product without the gate
        return lambda: taken

    monkeypatch.setattr(FewRows, "__call__", noted)
    mlp = GpuMlp(_layer(64, 96), _layer(48, 64), Gate.SILU)
    model, rows = nn.ModuleList([mlp]), torch.randn(20, 64, dtype=torch.float16)
    apart = mlp.gated(rows)
    race(model, timer, math.inf)
    assert mlp.pair.few_rows is mlp.down.few_rows is None
    del gated[:]
    with torch.inference_mode():
        torch.testing.assert_close(mlp.gated(rows), apart, rtol=1e-2, atol=1e-2)
        assert gated == ([wide_tile_for(32, 96, 64, 1)] if within else [])
        mlp.gated(rows.repeat(2, 1))
        assert len(gated) == within


def test_a_gate_within_a_product_that_is_wrong_stays_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    call = FewRows.__call__
    monkeypatch.setattr(FewRows, "__call__", lambda kernel, rows, **named: call(kernel, rows, **named) * 1.1)
    mlp = GpuMlp(_layer(64, 96), _layer(48, 64), Gate.SILU)
    count = iter(range(100))
    race(nn.ModuleList([mlp]), lambda _: partial(lambda seconds: seconds, 1.0 / (1 + next(count))))
    assert mlp.few_rows is None


def test_wide_types_alone_run() -> None:
    """Tensor cores do not multiply float32 as exactly as torch, and 8-bit weights always use their kernel."""
    model = nn.ModuleList([GpuLinear([nn.Linear(32, 32, bias=False)])])
    race(model, lambda _: pytest.fail("it was timed"))
    assert model[0].few_rows is None


@pytest.mark.parametrize("device", DEVICES)
def test_an_engine_with_kernels_computes_what_the_model_does(
    device: str, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, ours: list[int]
) -> None:
    place, prompt = torch.device(device), torch.randint(300, (1, 8))  # in chunks of seven tokens and of one
    loaded = load_language_model(str(llama_folder), revision=None, device=place, dtype="float16")
    shorten(loaded.model)
    loaded.model.lm_head.to(place, torch.float16)
    cache, pool = KVCache(probe_layouts(loaded), 8, PAGE, place, by_token=True), PagePool(8, PAGE)
    backend = TritonAttention(place)
    own, substitutions = model_logits(loaded, prompt), Substitutions(loaded.model)
    timer = timed(ours, {16, 32})
    monkeypatch.setattr(racing, "recording", lambda _, work: timer(work))

    def run() -> torch.Tensor:
        return engine_logits(ModelRunner(loaded.model, backend, cache, place), pool, prompt)

    fuse_on_gpu(substitutions, loaded.model, backend, run, loaded.context_tokens)
    race(loaded.model)
    del ours[:]
    torch.testing.assert_close(run(), own, rtol=5e-2, atol=5e-2)
    assert ours == [7] * 4  # the four products of its one layer; the head is asked for one row only
    substitutions.undo()
    assert torch.equal(model_logits(loaded, prompt), own)


def _layer(width: int, units: int) -> GpuLinear:
    return GpuLinear([nn.Linear(width, units, bias=False, dtype=torch.float16)])
