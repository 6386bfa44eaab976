"""Load changes no token with the native library in bfloat16 either, where coarse rounding would show any difference."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from services.engine.loading import load_language_model
from services.engine.native.library import load_library
from tests.services.bench import Bench, real_bench
from tests.services.engine.generation.test_engine_equals_generate import prompts
from tests.tiny.language_models import write_checkpoint

LIBRARY = load_library()
pays = LIBRARY is not None and LIBRARY.linear_pays[torch.bfloat16]
pytestmark = pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine")

ASKED = [
    (prompt, {"seed": i, "max_new_tokens": 40, "temperature": 0.0 if i % 3 == 0 else 0.9, "top_p": 0.95})
    for i, prompt in enumerate(prompts(10, seed=4))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("gemma3"), "gemma3")


@pytest.fixture
def benches(folder: Path) -> Iterator[list[Bench]]:
    """A roomy engine, and a tight one with a small prefill budget and pages for only a few requests."""
    made = []
    for sizes in ({"max_sequences": 12}, {"pages": 12, "max_sequences": 6, "prefill_tokens": 16}):
        loaded = load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="bfloat16")
        made.append(real_bench(loaded, accelerated=True, **sizes))
    yield made
    for bench in made:
        bench.engine.close()


async def test_tokens_in_bfloat16_are_those_of_a_request_alone(benches: list[Bench]) -> None:
    roomy, tight = benches
    alone = [(await roomy.run(prompt, **fields)).ids for prompt, fields in ASKED]
    for bench in benches:
        together = await bench.run_all(*ASKED)
        assert [result.ids for result in together] == alone
    assert tight.metric("preemptions_total") > 0


async def test_a_resumed_request_in_bfloat16_goes_on_with_the_same_tokens(benches: list[Bench]) -> None:
    roomy, tight = benches
    prompt, fields = ASKED[1]
    whole = (await roomy.run(prompt, **fields)).ids
    for cut in (1, 7, 20, 39):
        assert (await tight.run(prompt, delivered=tuple(whole[:cut]), **fields)).ids == whole[cut:]
