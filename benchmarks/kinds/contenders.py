"""The two sides of the comparison: `generate` on a padded batch, and the engine with one request per prompt."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.bare_engine import BareEngine, started
from services.engine.generation.building.build import BuiltEngine
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel, load_language_model


class Generate:
    """transformers' own `generate`, with all prompts padded to the longest."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = _load(folder).model

    def run(self, prompts: list[list[int]], new_tokens: int) -> float:
        """Generates exactly `new_tokens` tokens for each prompt and returns the CPU time in seconds."""
        longest, last = max(map(len, prompts)), not self._model.config.is_encoder_decoder
        pads = [[0] * (longest - len(prompt)) for prompt in prompts]
        ones = [[1] * len(prompt) for prompt in prompts]
        ids = [pad + prompt if last else prompt + pad for pad, prompt in zip(pads, prompts, strict=True)]
        mask = [pad + one if last else one + pad for pad, one in zip(pads, ones, strict=True)]
        began = time.process_time()
        self._model.generate(
            torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            do_sample=False,
            num_beams=1,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
        )
        return time.process_time() - began


class Engine:
    """The engine of the text service in process, on the path (paged or serial) that it chooses."""

    def __init__(self, loaded: LoadedModel, built: BuiltEngine) -> None:
        self._begun = tuple(loaded.decoder_start_ids)
        self._engine = BareEngine(built.engine, PromptEncoder(loaded.tokenizer, built.context_tokens))
        self.path = "serial" if built.serial else "paged"
        """How the engine runs the model."""

    def run(self, prompts: list[list[int]], new_tokens: int) -> float:
        """See Generate.run. All requests are submitted at once."""
        return asyncio.run(self._run(prompts, new_tokens))

    async def _run(self, prompts: list[list[int]], new_tokens: int) -> float:
        began = time.process_time()
        await asyncio.gather(*(self._request(prompt, new_tokens) for prompt in prompts))
        return time.process_time() - began

    async def _request(self, prompt: list[int], new_tokens: int) -> None:
        stopping = StoppingCriteria(max_new_tokens=new_tokens, min_new_tokens=new_tokens)
        begun, source = (self._begun, tuple(prompt)) if self._begun else (tuple(prompt), ())
        request = GenerationRequest(begun, SamplingParameters(), stopping, source_token_ids=source)
        times = await self._engine.token_times(request)
        if len(times) != new_tokens:
            raise RuntimeError(f"{len(times)} tokens came instead of {new_tokens}")


@contextmanager
def running(folder: Path) -> Generator[Engine]:
    """Starts the engine with a service's defaults."""
    loaded = _load(folder)
    with started(loaded, EngineSettings()) as built:
        yield Engine(loaded, built)


def _load(folder: Path) -> LoadedModel:
    return load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")
