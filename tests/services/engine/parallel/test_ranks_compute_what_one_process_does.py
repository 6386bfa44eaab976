"""Two ranks over gloo on the CPU: this process and one that it starts, each with half of a tiny model."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from services.engine.generation.building.parts import EngineSettings
from services.engine.loading import load_language_model
from services.engine.native.library import load_library
from services.engine.parallel.group import Rank
from services.engine.parallel.leading import Leading, divided
from services.process import checkpoint_of
from services.text.config import TextSettings
from services.text.rank import letter_to
from tests.fakes.forked_ranks import forked_ranks
from tests.services.bench import Bench, assemble, eventually, first_delta, read, real_bench
from tests.tiny.adapters import factors, pair, write_adapter
from tests.tiny.language_models import END_ID, greedy, write_checkpoint

CPU = torch.device("cpu")
PROMPTS = [[7 + (i * j) % 300 for i in range(1, length)] for j, length in ((3, 4), (5, 24), (11, 60), (17, 12))]
SAMPLED = {"temperature": 1.2, "top_p": 0.95, "repetition_penalty": 1.1}
ENDS = frozenset({END_ID})
PAGES = 24
"""Too few for all that is asked at once."""


def library_pays() -> bool:
    library = load_library()
    return library is not None and library.linear_pays[torch.float32]


class Two:
    """A model over two ranks, and the same model in one process."""

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        told = None if adapter is None else str(adapter)
        settings = TextSettings(model=str(folder), adapter=told, device="cpu", dtype="float32", tensor_parallel=2)
        checkpoint = divided(checkpoint_of(settings), "auto", Rank(0, 2))
        with forked_ranks():
            module = "services.text.follower"
            self.ranks = Leading(checkpoint, None, 30.0, module, lambda rank: letter_to(rank, settings))
        asked = {"revision": None, "device": CPU, "dtype": "float32", "adapter": checkpoint.adapter}
        loaded = load_language_model(str(folder), **asked, rank_count=2)
        self.model = loaded.model
        self.parts = self.ranks.parts(loaded, EngineSettings())
        self.bench = self.engine()
        alone = load_language_model(str(folder), **asked)
        self.folder = folder
        """What `generate` is asked with: the model with the adapter, if there is one."""
        if adapter is not None:
            self.folder = folder / "merged"
            alone.model.save_pretrained(self.folder)
        self.alone = real_bench(alone, prefill_tokens=16)

    def engine(self) -> Bench:
        """Starts an engine with few pages, which reads prompts in chunks."""
        return assemble(self.parts.runner, PAGES, prefill_tokens=16)

    def close(self) -> None:
        self.bench.engine.close()
        self.alone.engine.close()
        self.ranks.close()


def adapter_of(base: Path) -> Path:
    """Writes an adapter of all linear layers, all experts and some token embeddings."""
    model = AutoModelForCausalLM.from_pretrained(base)
    trained = factors(model, "_proj", "lm_head")
    for name, module in model.named_modules():
        if name.endswith(".experts"):
            for place, weight in ((f"{name}.base_layer", module.gate_up_proj), (name, module.down_proj)):
                shape, rank = (weight.shape[1], weight.shape[2]), 4 * weight.shape[0]
                trained |= pair(f"{place}.lora_A.weight", f"{place}.lora_B.weight", shape, rank)
    trained["model.embed_tokens.token_adapter.trainable_tokens_delta"] = torch.randn(2, model.config.hidden_size)
    told = {"target_parameters": ["experts.gate_up_proj", "experts.down_proj"], "trainable_token_indices": [7, 301]}
    return write_adapter(base / "adapter", base, trained, **told)


@pytest.fixture(scope="module", params=["gemma3", "mixtral"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """The mixture has an adapter."""
    base = write_checkpoint(tmp_path_factory.mktemp(request.param), request.param)
    made = Two(base, adapter_of(base) if request.param == "mixtral" else None)
    yield made
    made.close()


async def test_each_rank_holds_its_part(two: Two) -> None:
    layouts = two.parts.runner.cache.layouts.values()
    assert {(layout.heads, layout.kv_heads) for layout in layouts} == {(2, 1)}
    divided = [each.to_local().numel() / each.numel() for each in two.model.parameters() if isinstance(each, DTensor)]
    assert set(divided) == {0.5}
    first, second = two.parts.rank_bytes
    assert first == second


@pytest.mark.skipif(not library_pays(), reason="torch's linear layers are faster on this machine")
async def test_what_lies_between_two_exchanges_is_computed_in_one_go(two: Two) -> None:
    kinds = [type(module).__name__ for module in two.model.modules()]
    layers = two.model.config.num_hidden_layers
    assert kinds.count("FusedAttention") == layers
    mixtral = two.model.config.model_type == "mixtral"
    assert (kinds.count("FusedMlp"), kinds.count("SummedExperts")) == ((0, layers) if mixtral else (layers, 0))


async def test_greedy_tokens_are_those_of_generate(two: Two) -> None:
    found = await asyncio.gather(*(two.bench.run(prompt, max_new_tokens=12, end_token_ids=ENDS) for prompt in PROMPTS))
    assert [result.ids for result in found] == [greedy(two.folder, prompt, 12) for prompt in PROMPTS]


async def test_a_crowd_is_served_as_by_one_process(two: Two) -> None:
    """Sampled and greedy rows of all lengths, with candidates, log-probabilities, preemption, and a cancelled one."""
    asked: list[dict[str, Any]] = [
        SAMPLED | {"prompt": prompt, "seed": i, "max_new_tokens": 40, "candidate_count": 1 + i % 3, "logprob_count": 2}
        for i, prompt in enumerate(PROMPTS)
    ]
    asked.append({"prompt": PROMPTS[2], "max_new_tokens": 20, "prompt_logprob_count": 1})
    leaver = two.bench.submit(PROMPTS[0], max_new_tokens=100)
    await first_delta(leaver)
    streams = two.bench.submit_all(*((each.pop("prompt"), each) for each in map(dict, asked)))
    leaver.cancel()
    found = await asyncio.gather(*map(read, streams))
    expected = await asyncio.gather(*(two.alone.run(**each) for each in asked))
    for mine, other in zip(found, expected, strict=True):
        assert [each.token_ids for each in mine.candidates] == [each.token_ids for each in other.candidates]
        likely = [[one.logprob for one in each.logprobs] for each in (mine, other)]
        assert likely[0] == pytest.approx(likely[1], abs=1e-4)
        prompt = [[one.logprob for one in each.prompt_logprobs if one.logprob is not None] for each in (mine, other)]
        assert prompt[0] == pytest.approx(prompt[1], abs=1e-4)
    assert found[-1].prompt_logprobs
    assert two.bench.metric("preemptions_total") > 0
    await eventually(lambda: two.bench.pool.free_count == PAGES)


async def test_a_beginning_that_was_computed_before_is_shared(two: Two) -> None:
    again = await asyncio.gather(*(two.bench.run(PROMPTS[2], max_new_tokens=12, end_token_ids=ENDS) for _ in range(2)))
    assert two.bench.metric("prefix_cache_hit_tokens_total") > 0
    assert {tuple(result.ids) for result in again} == {tuple(greedy(two.folder, PROMPTS[2], 12))}
    assert two.ranks.trouble() == ""
