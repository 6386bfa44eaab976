from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sensorium import AsyncClient
from services.engine.narrow.numbers import NarrowKind
from tests.e2e.processes import server
from tests.e2e.requests import read, request
from tests.services.engine.parallel.rounded_parts import by_hand, generated
from tests.tiny.language_models import greedy

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")
DIVIDED = ("--tensor-parallel", "2", "--dtype", "float32", "--drain-delay-seconds", "0")


@pytest.mark.parametrize("name", ["llama", "gemma3", "mixtral"])
async def test_tokens_of_two_gpus_are_those_of_generate(
    name: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, prompts = folders(name), [[9, 11, 13], list(range(20, 90))]
    async with (
        server(tmp_path / "log", "services.text", "--model", str(folder), *DIVIDED) as running,
        AsyncClient(running.address, retry=None, timeout=60) as client,
    ):
        for prompt in prompts:
            answer = await read(client, request(prompt, max_new_tokens=12, temperature=0))
            assert answer.token_ids == greedy(folder, prompt, 12)
    assert "are recorded in" in running.log


@pytest.mark.parametrize(("name", "kind"), [("llama", "int8"), ("mixtral", "fp8_e4m3")])
async def test_each_gpu_rounds_its_part(
    name: str, kind: NarrowKind, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    alone, _ = by_hand(folders(name), kind)
    flags = ("--model", str(folders(name)), *DIVIDED, "--quantization", kind)
    async with (
        server(tmp_path / "log", "services.text", *flags) as running,
        AsyncClient(running.address, retry=None, timeout=60) as client,
    ):
        answer = await read(client, request([9, 11, 13], max_new_tokens=12, temperature=0))
    assert answer.token_ids == generated(alone, [9, 11, 13], 12)
