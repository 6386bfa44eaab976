"""The kernel that begins a decode step does what separate kernels for tokens, embeddings and angles do, to the bit."""

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from services.engine.fusion.substitution import Substitutions
from services.engine.generation.building.build import PAGE_SIZE, probe_layouts
from services.engine.generation.building.verification import engine_logits
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import Row, Sequence
from services.engine.loading import load_language_model
from tests.drawn import drawn
from tests.services.engine.generation.sequences import sequence as sequence_of
from tests.services.engine.kernel_devices import DEVICES, INTERPRETED, shorten
from tests.tiny.language_models import write_checkpoint

pytest.importorskip("triton")
from services.engine.fusion.triton.beginning import StepBeginning, fill_in
from services.engine.fusion.triton.rotary import GpuRotary
from services.engine.fusion.triton.substitution import fuse_on_gpu
from services.engine.generation.attention.triton.backend import TritonAttention
from services.engine.generation.recorded.step_shape import Extent
from tests.services.engine.generation.recorded.played_graphs import PlayedGraphs

CPU = torch.device("cpu")
PAGES = 12


class Beginner(nn.Module):
    """As much of a model as begins a step."""

    def __init__(self, tokens: int, width: int, positions: int, rotated: int, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width, dtype=dtype, device=device)
        cosines, sines = (torch.randn(positions, rotated, device=device).to(dtype) for _ in range(2))
        self.rotary = GpuRotary(nn.Module(), (cosines, sines))

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 5])
@torch.inference_mode()
def test_embeddings_and_angles_are_those_of_the_chosen_tokens(device: str, dtype: torch.dtype, rows: int) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}")  # shown where a test fails
    torch.manual_seed(seed)
    model: Any = Beginner(90, 72, 50, 12, dtype, device)
    beginning = StepBeginning(model)
    given, before = torch.randint(90, (rows,), device=device), torch.randint(-1, 90, (6,), device=device)
    before[2], sources = -1, torch.randint(-1, 6, (rows,), device=device)
    sources[0] = 2  # of no token
    positions = torch.randint(50, (rows,), device=device)
    begun = beginning.looked_up(given, sources, before, positions)
    tokens = torch.where(sources < 0, given, before[sources].clamp(min=0)).unsqueeze(0)
    assert beginning.tokens(given, sources, before, positions)["input_ids"].tolist() == tokens.tolist()
    assert torch.equal(begun["inputs_embeds"], model.embedding(tokens))
    found = model.rotary(begun["inputs_embeds"], begun["position_ids"])
    for angles, table in zip(found, model.rotary.table, strict=True):
        assert torch.equal(angles, table[positions].unsqueeze(0))


@pytest.mark.parametrize("device", DEVICES)
def test_tokens_are_those_given_or_those_of_the_step_before(device: str) -> None:
    given, sources, before = (
        torch.tensor(values, device=device) for values in ([7, 0, 9, 0, 0], [-1, 3, -1, 0, 1], [11, -1, 12, 13])
    )
    tokens = torch.full([5], -7, device=device)
    fill_in(given, sources, before, tokens)
    assert tokens.tolist() == [7, 13, 9, 11, 0]


@pytest.mark.parametrize("device", DEVICES)
def test_angles_that_are_kept_are_for_these_very_positions(device: str) -> None:
    rotary = Beginner(1, 1, 9, 4, torch.float32, device).rotary
    positions, states = torch.tensor([[3, 8]], device=device), torch.zeros(1, device=device)
    own, kept = rotary(states, positions), (torch.zeros(2, device=device), torch.ones(2, device=device))
    rotary.keep(positions, kept)
    assert torch.equal(rotary(states, positions.clone())[0], own[0])
    assert torch.equal(rotary(states, positions)[0], own[0])  # they are forgotten after any call
    rotary.keep(positions, kept)
    assert rotary(states, positions) is kept


def changed(change: str) -> bool:
    model: Any = Beginner(4, 8, 4, 4, torch.float32, "cpu")
    if change == "two embeddings":
        model.other = nn.Embedding(4, 8)
    elif change == "two tables":
        model.second = GpuRotary(nn.Module(), model.rotary.table)
    elif change == "scaled":
        model.embedding = type("Scaled", (nn.Embedding,), {})(4, 8)
    elif change == "renormed":
        model.embedding = nn.Embedding(4, 8, max_norm=1.0)
    elif change == "strided":
        model.embedding.weight = nn.Parameter(torch.zeros(8, 4).t())
    return StepBeginning(model).can_merge


@pytest.mark.parametrize("change", ["", "two embeddings", "two tables", "scaled", "renormed", "strided"])
def test_only_plain_models_begin_so(change: str) -> None:
    assert changed(change) == (not change)


class Decoding:
    """A model of one layer with kernels, whose steps are launched one behind another."""

    def __init__(self, folder: Path) -> None:
        loaded = load_language_model(str(folder), revision=None, device=CPU, dtype="float32")
        shorten(loaded.model)
        self._pool = PagePool(PAGES, PAGE_SIZE)
        cache, backend = KVCache(probe_layouts(loaded), PAGES, PAGE_SIZE, CPU, by_token=True), TritonAttention(CPU)
        self._runner = ModelRunner(loaded.model, backend, cache, CPU)
        run = partial(engine_logits, self._runner, self._pool, torch.tensor([[7, 9]]))
        fuse_on_gpu(Substitutions(loaded.model), loaded.model, backend, run, 64)
        self.graphs = PlayedGraphs(loaded.model, backend, cache, CPU, longest=64)
        self.graphs.record(4, Extent())

    def tokens(self, prompts: list[list[int]]) -> tuple[list[list[int]], Tensor]:
        """Returns the tokens of four steps, and the logits of the last."""
        rows: list[Row[Sequence]] = []
        for prompt in prompts:
            rows.append(Row(sequence_of(prompt), 1, decodes=True))
            self._pool.grow(rows[-1].sequence.pages, len(prompt) + 4)
            self._runner.run([Row(rows[-1].sequence, len(prompt) - 1)])
            rows[-1].sequence.computed = len(prompt) - 1
        step, found = self.graphs.launch(rows), list[list[int]]()
        for _ in range(3):
            assert step is not None
            following = self.graphs.launch(rows, step)
            found.append(step.tokens())
            for row, token in zip(rows, found[-1], strict=True):
                row.sequence.computed += 1
                row.sequence.token_ids.append(token)
            step = following
        assert step is not None
        for row in rows:
            self._pool.release(row.sequence.pages)
        shape = self.graphs.shape_for(rows)
        assert shape is not None
        return [*found, step.tokens()], self.graphs._graphs[shape].logits[: len(rows)].clone()


@pytest.mark.skipif(not INTERPRETED, reason="kernels are compiled here")
@pytest.mark.parametrize("name", drawn(["llama", "qwen3"], 1))
def test_steps_behind_one_another_have_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random.SystemRandom()
    decoding = Decoding(write_checkpoint(tmp_path, name))
    prompts = [[source.randrange(6, 300) for _ in range(source.randrange(2, 20))] for _ in range(3)]  # beside padding
    print(prompts)  # shown where a test fails
    tokens, logits = decoding.tokens(prompts)
    beginning, begun = decoding.graphs.beginning, list[int]()
    assert beginning.can_merge
    looked_up = StepBeginning.looked_up

    def counted(own: StepBeginning, given: Tensor, *others: Tensor) -> dict[str, Tensor]:
        begun.append(len(given))
        return looked_up(own, given, *others)

    monkeypatch.setattr(StepBeginning, "looked_up", counted)
    beginning.merge(4, True)
    found, merged = decoding.tokens(prompts)
    assert found == tokens
    assert torch.equal(merged, logits)
    assert begun == [4] * 4
    beginning.merge(4, False)
    assert decoding.tokens(prompts)[0] == tokens
    assert begun == [4] * 4
