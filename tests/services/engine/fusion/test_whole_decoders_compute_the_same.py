"""A decoder in one native call returns the same bits as the model's own forward."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.engine.generation.building.build import probe_layouts
from services.engine.generation.building.verified_runner import verified_runner
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.running.runner import ModelRunner
from services.engine.generation.sequence import CachedTokens, Row
from services.engine.loading import load_language_model
from services.engine.native.library import load_library
from tests.tiny.language_models import CONFIGS, write_checkpoint

LIBRARY = load_library()
pays = LIBRARY is not None and all(LIBRARY.linear_pays.values())
pytestmark = pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine")

CPU, PAGES, PAGE_SIZE = torch.device("cpu"), 192, 16
WHOLE = {"llama", "mistral", "qwen3", "wide_llama"}
"""The others have other layers, or do more around them: they scale embeddings, cap logits, have two kinds of angles."""


def built(folder: Path, dtype: str = "float32", change: Any = None) -> tuple[ModelRunner, PagePool]:
    loaded = load_language_model(str(folder), revision=None, device=CPU, dtype=dtype)
    if change is not None:
        change(loaded.model)
    pool = PagePool(PAGES, PAGE_SIZE)
    return verified_runner(loaded, KVCache(probe_layouts(loaded), PAGES, PAGE_SIZE, CPU), pool), pool


def steps(pool: PagePool) -> Iterator[list[Row[CachedTokens]]]:
    """Yields steps with chunks of prompts, rows that decode, scored and proposed tokens, and no logits at all."""
    generator = torch.Generator().manual_seed(11)
    lengths = (90, 40, 17, 1)
    sequences = [CachedTokens(torch.randint(320, (length,), generator=generator).tolist()) for length in lengths]
    one, two, three, four = sequences
    for sequence in sequences:
        pool.grow(sequence.pages, len(sequence.token_ids) + 4)
    for rows in (
        [Row(one, 30)],
        [Row(one, 20, scored=20), Row(two, 39), Row(three, 17)],
        [Row(two, 1, decodes=True), Row(one, 40, scored=3), Row(four, 1, decodes=True)],
    ):
        yield rows
        for row in rows:
            row.sequence.computed += row.token_count
    for sequence in sequences:
        sequence.token_ids.append(7)
    yield [Row(sequence, 1, decodes=True) for sequence in sequences]
    yield [Row(one, 4, decodes=True, scored=3, proposed=(5, 6, 7)), Row(two, 1, decodes=True)]


def both(runner: ModelRunner, rows: list[Row[CachedTokens]]) -> tuple[Tensor, Tensor]:
    whole, runner.whole = runner.whole, None
    own = runner.run(rows)
    runner.whole = whole
    return own, runner.run(rows)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_known_whole_returns_the_same_bits(name: str, tmp_path: Path) -> None:
    runner, pool = built(write_checkpoint(tmp_path, name))
    assert (runner.whole is not None) == (name in WHOLE)
    for rows in steps(pool) if runner.whole else ():
        own, found = both(runner, rows)
        assert torch.equal(own, found)


def test_in_bfloat16_too_and_far_behind_the_first_positions(llama_folder: Path) -> None:
    runner, pool = built(llama_folder, "bfloat16")
    for rows in steps(pool):
        own, found = both(runner, rows)
        assert torch.equal(own, found)
    far = CachedTokens([9] * 2500, computed=2499)  # its pages are empty in both runs
    pool.grow(far.pages, 2500)
    own, found = both(runner, [Row(far, 1, decodes=True)])
    assert torch.equal(own, found)


def test_a_model_that_does_a_little_more_runs_by_its_own_forward(llama_folder: Path) -> None:
    def warm(_model: Any, _arguments: Any, output: Any) -> Any:
        output.logits = output.logits * 1.001
        return output

    runner, _ = built(llama_folder, change=lambda model: model.register_forward_hook(warm))
    assert runner.whole is None


def test_a_token_that_is_none_fails_as_it_did(llama_folder: Path) -> None:
    runner, pool = built(llama_folder)
    wrong = CachedTokens([3, 320_000])
    pool.grow(wrong.pages, 2)
    with pytest.raises(IndexError):
        runner.run([Row(wrong, 2)])
