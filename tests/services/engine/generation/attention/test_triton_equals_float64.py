"""The attention kernels on random inputs: interpreted on the CPU, and compiled if there is a GPU."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from services.engine.generation.attention.backend import AttentionLayer
from services.engine.generation.attention.batch import AttentionBatch, RowSpan
from services.engine.generation.cache.kv_cache import KVCache, LayerLayout, narrowed, widened
from tests.services.engine.kernel_devices import DEVICES

pytest.importorskip("triton")
from services.engine.generation.attention.triton.backend import OwnHeads, TritonAttention, takes
from services.engine.generation.attention.triton.plan import QueryBlocks, part_tokens
from services.engine.generation.attention.triton.tiles import RACED, DecodeTile
from services.engine.generation.recorded.step_blocks import query_blocks

PAGE, PAGES = 16, 96
EPSILON = 1e-3
ERRORS = {torch.float32: 2e-6, torch.bfloat16: 6e-3, torch.float16: 1e-3}
"""Greatest norm of the difference, as a share of the norm of the exact result."""
_NARROW = 1.4
"""Times as much in 8 bits: an H200 showed 6.9e-3 in bfloat16."""


@dataclass(frozen=True)
class Case:
    """One layer and the rows of a step, as (new tokens, context)."""

    heads: int = 4
    kv_heads: int = 2
    key_width: int = 16
    value_width: int = 16
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False
    dtype: torch.dtype = torch.float32
    narrow: bool = False
    rows: tuple[tuple[int, int], ...] = ((1, 1), (5, 40), (1, 70), (19, 19))


CASES = {
    "one decodes": Case(rows=((1, 130),)),
    "mixed": Case(),
    "one head of keys, odd widths": Case(heads=5, kv_heads=1, key_width=7, value_width=21),
    "window of one, no groups": Case(kv_heads=4, window=1),
    "window over several blocks": Case(window=70, rows=((1, 150), (3, 140), (40, 150))),
    "all at once": Case(window=20, softcap=3.0, sinks=True),
    "in 8 bits, mixed": Case(narrow=True),
    "in 8 bits, all at once": Case(
        heads=6, kv_heads=2, key_width=24, value_width=21, window=20, softcap=3.0, sinks=True, narrow=True
    ),
    "in 8 bits of float16": Case(dtype=torch.float16, key_width=24, value_width=24, sinks=True, narrow=True),
    "float16, all at once": Case(dtype=torch.float16, window=20, sinks=True, key_width=24, value_width=24),
}
LARGE = {
    # The interpreter multiplies the bits of bfloat16 as integers.
    "bfloat16, all at once": Case(dtype=torch.bfloat16, window=20, sinks=True, key_width=24, value_width=24),
    "Llama of 8B in 8 bits": Case(
        32, 8, 128, 128, dtype=torch.bfloat16, narrow=True, rows=((1, 1000), (1, 517), (300, 700), (129, 129))
    ),
    "Llama of 8B": Case(32, 8, 128, 128, dtype=torch.bfloat16, rows=((1, 1000), (1, 517), (300, 700), (129, 129))),
    "wide heads": Case(8, 4, 256, 256, window=512, dtype=torch.bfloat16, rows=((1, 900), (200, 800))),
    "in float32": Case(8, 2, 128, 128, rows=((1, 900), (100, 300))),
    "many queries to a key": Case(64, 1, 64, 64, sinks=True, dtype=torch.float16, rows=((1, 700), (70, 90))),
}


@dataclass
class Step:
    """A step with random keys, values and pages. Everything that no row may read is NaN."""

    case: Case
    device: str

    def __post_init__(self) -> None:
        case, self.seed = self.case, random.SystemRandom().randrange(1 << 30)
        print(f"seed {self.seed}")  # shown where a test fails
        self.generator = torch.Generator().manual_seed(self.seed)
        layout = LayerLayout(case.heads, case.kv_heads, case.key_width, case.value_width, case.dtype, case.narrow)
        pages = max(PAGES, sum(-(-context // PAGE) for _, context in case.rows) + 8)
        self.cache = KVCache({3: layout}, pages, PAGE, torch.device(self.device), by_token=True)
        for tensor in self.cache.scales(3) if case.narrow else (self.cache.keys(3), self.cache.values(3)):
            tensor.fill_(torch.nan)
        free = iter(torch.randperm(pages, generator=self.generator).split(1))
        self.sequences = [
            (self.draw(context, case.kv_heads, case.key_width), self.draw(context, case.kv_heads, case.value_width))
            for _, context in case.rows
        ]
        self.queries = [self.draw(new, case.heads, case.key_width) for new, _ in case.rows]
        self.layer = AttentionLayer(3, 0.3, case.window, case.softcap, self.draw(case.heads) if case.sinks else None)
        spans, slots, start = list[RowSpan](), list[Tensor](), 0
        for (new, context), (keys, values) in zip(case.rows, self.sequences, strict=True):
            own = torch.cat([next(free) for _ in range(-(-context // PAGE))])
            places = own[torch.arange(context) // PAGE] * PAGE + torch.arange(context) % PAGE
            spans.append(RowSpan(start, new, context, own.to(self.device)))
            slots.append(places[context - new :])
            before = [tensor.to(self.device) for tensor in (places[:-new], keys[:-new], values[:-new])]
            self.cache.write(3, *before)
            start += new
        self.batch = AttentionBatch(spans, torch.cat(slots).to(self.device), self.cache)

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator).to(self.case.dtype)

    def run(self, queries: int = 0, tile: DecodeTile | None = None) -> Tensor:
        """Returns the kernels' result; with `queries`, of the decode kernel with blocks of up to so many queries."""
        backend = backend_of(self.device, tile)
        assert takes(self.cache)
        plan = backend.plan(self.batch)
        if queries:
            blocks = self._blocks(queries, backend)
            plan = replace(plan, decoding=blocks, reading=None, stored_first=True)
        new = [(keys[-len(query) :], values[-len(query) :]) for query, (keys, values) in self._pairs()]
        # As models pass them, the heads of a token are not contiguous.
        packed = [torch.cat(column).to(self.device) for column in (self.queries, *zip(*new, strict=True))]
        scattered = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in packed]
        layer = self.layer
        if layer.sinks is not None:
            layer = replace(layer, sinks=layer.sinks.to(self.device))
        with poisoned():
            return backend.attend(layer, *scattered, plan).cpu()

    def _blocks(self, queries: int, backend: TritonAttention) -> QueryBlocks:
        rows = self.batch.rows
        places = [place for row in rows for place in range(row.context - row.length, row.context)]
        blocks = torch.tensor(query_blocks([row.length for row in rows], places, len(places), queries))
        blocks[:, 3] = torch.tensor([0, *(len(row.pages) for row in rows)]).cumsum(0)[blocks[:, 3]]
        blocks = torch.cat([blocks, torch.zeros(2, 4, dtype=torch.int64)])  # two blocks without tokens
        tokens = part_tokens(blocks[:, 2].tolist(), self.cache, backend.programs(len(blocks)))
        table = torch.cat([blocks, torch.full((len(blocks), 1), tokens)], dim=1)
        return QueryBlocks(table.to(self.device), queries)

    def exact(self) -> Tensor:
        """Returns the result of the formula in float64, row by row."""
        case, outputs = self.case, list[Tensor]()
        for query, (keys, values) in self._pairs():
            group, new, context = case.heads // case.kv_heads, len(query), len(keys)
            wide = [self.stored(tensor).double().repeat_interleave(group, dim=1) for tensor in (keys, values)]
            scores = torch.einsum("nhd,chd->hnc", query.double(), wide[0]) * self.layer.scaling
            if case.softcap:
                scores = case.softcap * torch.tanh(scores / case.softcap)
            distance = torch.arange(context - new, context).unsqueeze(1) - torch.arange(context)
            hidden = (distance < 0) | (distance >= (case.window or context))
            scores = scores.masked_fill(hidden, float("-inf"))
            if self.layer.sinks is not None:
                sinks = self.layer.sinks.double().view(-1, 1, 1).expand(-1, new, 1)
                scores = torch.cat([scores, sinks], dim=-1)
            outputs.append(torch.einsum("hnc,chd->nhd", scores.softmax(dim=-1)[..., :context], wide[1]))
        return torch.cat(outputs)

    def _pairs(self) -> list[tuple[Tensor, tuple[Tensor, Tensor]]]:
        return list(zip(self.queries, self.sequences, strict=True))

    def stored(self, numbers: Tensor) -> Tensor:
        """Returns numbers `[n, heads, width]` as the cache stores them."""
        return widened(*narrowed(numbers)) if self.case.narrow else numbers


@contextmanager
def poisoned() -> Generator[None]:
    """Fills allocated memory with NaN, so that unwritten results are noticed."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def backend_of(device: str, tile: DecodeTile | None) -> TritonAttention:
    """Returns a backend whose decode kernel uses this tile, or its own if none is given."""
    backend = TritonAttention(torch.device(device))
    for blocks in (1, 16) if tile else ():
        backend.tiles.choose(blocks, tile)
    return backend


def check(case: Case, device: str, queries: int = 0, tile: DecodeTile | None = None) -> None:
    step = Step(case, device)
    found, exact = step.run(queries, tile), step.exact()
    assert found.shape == exact.shape
    assert found.dtype == case.dtype
    allowed = ERRORS[case.dtype] * (_NARROW if case.narrow else 1)
    for span in step.batch.rows:
        own = slice(span.start, span.start + span.length)
        assert float((found[own].double() - exact[own]).norm() / exact[own].norm()) <= allowed
    for span, (keys, values) in zip(step.batch.rows, step.sequences, strict=True):
        read = step.cache.read(3, span.pages, span.context)
        assert torch.equal(read[0].cpu(), step.stored(keys).to(case.dtype))
        assert torch.equal(read[1].cpu(), step.stored(values).to(case.dtype))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_step_equals_the_formula(case: Case, device: str) -> None:
    check(case, device)


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE.keys())
def test_sizes_of_real_models_equal_the_formula(case: Case, device: str) -> None:
    check(case, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_long_context_is_split_and_summed(device: str) -> None:
    case = Case(heads=2, kv_heads=1, rows=((1, 400), (1, 30)), window=300, sinks=True)
    check(case, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tile", RACED, ids=str)
def test_every_tile_that_may_win_equals_the_formula(device: str, tile: DecodeTile) -> None:
    check(Case(heads=2, kv_heads=1, window=90, sinks=True, rows=((1, 1), (1, 150), (1, 40))), device, tile=tile)
    check(Case(heads=2, kv_heads=1, dtype=torch.float16, narrow=True, rows=((1, 200),)), device, tile=tile)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("rows", "queries"), [(((1, 60), (7, 130), (4, 4)), 3), (((5, 40), (2, 33)), 8)])
def test_a_few_tokens_of_a_row_attend_to_those_before_them(
    device: str, rows: tuple[tuple[int, int], ...], queries: int
) -> None:
    case = Case(heads=6, kv_heads=2, key_width=24, value_width=21, rows=rows)
    check(case, device, queries)
    check(replace(case, window=20, softcap=3.0, sinks=True, narrow=True), device, queries)


@pytest.mark.parametrize("device", DEVICES[1:])
@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE.keys())
def test_a_few_tokens_of_real_models_attend_to_those_before_them(case: Case, device: str) -> None:
    rows = ((1, 1000), (4, 517), (7, 8192), (8, 8))
    check(replace(case, rows=rows), device, max(16 * case.kv_heads // case.heads, 1))


@pytest.mark.parametrize("device", DEVICES)
def test_large_scores_neither_overflow_nor_vanish(device: str) -> None:
    step = Step(Case(rows=((1, 40), (9, 30))), device)
    step.layer = replace(step.layer, scaling=300.0)
    found, exact = step.run(), step.exact()
    assert torch.isfinite(found).all()
    assert float((found - exact).norm() / exact.norm()) <= 1e-3  # scores in the thousands have float32 rounding errors


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rotated", [16, 8])
@pytest.mark.parametrize(
    ("with_norms", "narrow", "tile"),
    [(False, False, None), (True, False, None), (True, True, None), *((False, True, tile) for tile in RACED[1:4:2])],
)
def test_rows_of_one_token_are_rotated_stored_and_attend_in_one_pass(
    device: str, rotated: int, with_norms: bool, narrow: bool, tile: DecodeTile | None
) -> None:
    case = Case(narrow=narrow, rows=((1, 1), (1, 140), (1, 16), (1, 33)), window=90, softcap=5.0, sinks=True)
    step = Step(case, device)
    scales = (step.draw(16).exp(), step.draw(16).exp()) if with_norms else None
    angles = step.draw(len(case.rows), rotated), step.draw(len(case.rows), rotated)
    raw = [
        torch.cat([query[0], keys[-1], values[-1]]).flatten()
        for query, (keys, values) in zip(step.queries, step.sequences, strict=True)
    ]
    for i, (query, (keys, _)) in enumerate(zip(step.queries, step.sequences, strict=True)):
        for heads, scale in ((query[0], 0), (keys[-1], 1)):
            heads.copy_(turned(heads, [angle[i] for angle in angles], scales and scales[scale]))
    own = OwnHeads(
        angles[0].to(device), angles[1].to(device), rotated, scales and (scales[0].to(device), scales[1].to(device)),
        EPSILON,
    )  # fmt: skip
    backend, layer = backend_of(device, tile), step.layer
    assert layer.sinks is not None
    step.batch.slots[2] = -1  # its key and value are not stored, but the token sees itself
    with poisoned():
        found = backend.attend_own(
            replace(layer, sinks=layer.sinks.to(device)), torch.stack(raw).to(device), own, backend.plan(step.batch)
        ).cpu()
    exact = step.exact()
    # A number halfway between two 8-bit ones may be rounded to either.
    assert float((found - exact).norm() / exact.norm()) <= (2e-2 if narrow else 4e-6)
    tolerance = {"rtol": 0.13, "atol": 0.01} if narrow else {}
    for i, (span, (keys, values)) in enumerate(zip(step.batch.rows, step.sequences, strict=True)):
        read = step.cache.read(3, span.pages, span.context)
        count = span.context - (i == 2)
        torch.testing.assert_close(read[0].cpu()[:count], step.stored(keys)[:count], **tolerance)
        assert torch.equal(read[1].cpu()[:count], step.stored(values)[:count])
    assert torch.isnan(step.cache.read(3, step.batch.rows[2].pages, 16)[0][-1]).all()


def turned(heads: Tensor, angles: list[Tensor], scales: Tensor | None) -> Tensor:
    """Returns heads `[n, width]`, normed if there are scales, and rotated by transformers' formula."""
    wide, width = heads.double(), len(angles[0])
    if scales is not None:
        wide = wide * (wide.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * scales.double()
    low, high = wide[:, : width // 2], wide[:, width // 2 : width]
    cosines, sines = (angle.double() for angle in angles)
    rotated = wide[:, :width] * cosines + torch.cat([-high, low], dim=-1) * sines
    return torch.cat([rotated, wide[:, width:]], dim=-1).float()
