"""Those compared: `generate` on a padded batch, and the engine with a request for each prompt."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from prometheus_client import CollectorRegistry

from services.engine.generation.building.build import build_engine
from services.engine.generation.building.parts import EngineSettings
from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import Delta, GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel, load_language_model
from services.engine.metrics import EngineMetrics


class Generate:
    """transformers' own `generate`, all prompts padded to the longest."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = _load(folder).model

    def run(self, prompts: list[list[int]], new_tokens: int) -> float:
        """Generates exactly `new_tokens` tokens behind each prompt and returns the seconds of CPU time it took."""
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
    """The engine of the text service without the service, on the path it chooses."""

    def __init__(self, folder: Path) -> None:
        self._loaded = _load(folder)
        self._built = build_engine(self._loaded, EngineSettings(), EngineMetrics(CollectorRegistry()))
        self._encoder = PromptEncoder(self._loaded.tokenizer, self._built.context_tokens)
        self._texts = TokenTexts(self._encoder)

    @property
    def path(self) -> str:
        """How the engine runs the model."""
        return "serial" if self._built.serial else "paged"

    @contextmanager
    def started(self) -> Iterator[None]:
        """The engine runs inside the `with`."""
        self._built.engine.start()
        try:
            yield
        finally:
            self._built.engine.close()

    def run(self, prompts: list[list[int]], new_tokens: int) -> float:
        """See Generate.run. All requests come at once."""
        return asyncio.run(self._run(prompts, new_tokens))

    async def _run(self, prompts: list[list[int]], new_tokens: int) -> float:
        began = time.process_time()
        await asyncio.gather(*(self._request(prompt, new_tokens) for prompt in prompts))
        return time.process_time() - began

    async def _request(self, prompt: list[int], new_tokens: int) -> None:
        started = tuple(self._loaded.decoder_start_ids)
        stopping = StoppingCriteria(max_new_tokens=new_tokens, min_new_tokens=new_tokens)
        request = GenerationRequest(
            prompt_token_ids=started or tuple(prompt),
            sampling=SamplingParameters(),
            stopping=stopping,
            source_token_ids=tuple(prompt) if started else (),
        )
        detokenizer = IncrementalDetokenizer(self._encoder, request.prompt_token_ids, skip_special_tokens=True)
        output = OutputBuilder(detokenizer, stopping, self._texts)
        events = [event async for event in self._built.engine.submit(request, output)]
        count = sum(len(event.token_ids) for event in events if isinstance(event, Delta))
        if count != new_tokens:
            raise RuntimeError(f"{count} tokens came instead of {new_tokens}")


def _load(folder: Path) -> LoadedModel:
    return load_language_model(str(folder), revision=None, device=torch.device("cpu"), dtype="auto")
