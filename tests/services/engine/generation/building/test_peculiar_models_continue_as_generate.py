import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from services.engine.checkpoint import ModelRefused
from services.engine.loading import load_language_model
from tests.services.bench import build, outputs_of, read, request
from tests.tiny.language_models import write_checkpoint

PROMPTS = [[7 + (i * j) % 300 for i in range(1, length)] for j, length in ((3, 5), (11, 38), (13, 90))]
NEW_TOKENS = 12


@pytest.mark.parametrize(
    ("name", "serial"), [("jetmoe", False), ("moshi", True), ("minimax_m3", True), ("llama4", True), ("fsmt", True)]
)
async def test_peculiar_models_continue_as_generate(tmp_path: Path, name: str, serial: bool) -> None:
    folder = write_checkpoint(tmp_path, name, seed=3)
    loaded = load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")
    built, start = build(loaded), list(loaded.decoder_start_ids)
    assert built.serial == serial
    asked = [request(start or prompt, source=prompt if start else [], max_new_tokens=NEW_TOKENS) for prompt in PROMPTS]
    built.engine.start()
    try:
        results = await asyncio.gather(*(read(built.engine.submit(each, *outputs_of(each))) for each in asked))
    finally:
        built.engine.close()
    assert [result.ids for result in results] == [own_generate(folder, prompt) for prompt in PROMPTS]


def own_generate(folder: Path, prompt: list[int]) -> list[int]:
    kind = AutoModelForSeq2SeqLM if "fsmt" in (folder / "config.json").read_text() else AutoModelForCausalLM
    ids = torch.tensor([prompt])
    output = kind.from_pretrained(folder, dtype=torch.float32).generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None
    )
    return output[0, -NEW_TOKENS:].tolist()


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, KeyError])
def test_what_a_models_own_code_raises_is_a_refusal(llama_folder: Path, error: type[Exception]) -> None:
    loaded = load_language_model(str(llama_folder), revision=None, device=torch.device("cpu"), dtype="auto")

    def forward(_hidden: torch.Tensor) -> torch.Tensor:
        raise error("not for these tensors")

    loaded.model.model.layers[1].mlp.forward = forward
    with pytest.raises(ModelRefused, match="not for these tensors"):
        build(loaded)
