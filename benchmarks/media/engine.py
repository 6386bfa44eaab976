"""Runs a multimodal engine in process and records the arrival times of tokens."""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from benchmarks.bare_engine import BareEngine, started
from benchmarks.media.checkpoint import SIDE, TOKENS
from benchmarks.text.vocabulary import first_word_id, words
from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.build import BuiltEngine, EngineSettings
from services.engine.generation.requests.request import GenerationRequest, SamplingParameters, StoppingCriteria
from services.engine.generation.running.media import Medium, PromptMedia
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel
from services.engine.multimodal.encoder import MediaEncoder
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.loading import load_multimodal_model
from services.engine.multimodal.placing import MediaPlacer
from services.engine.multimodal.processor import digest_of


@dataclass(frozen=True)
class Prompt:
    """Prompt tokens, with the image among them if there is one."""

    token_ids: tuple[int, ...]
    media: PromptMedia | None = None


class Engine:
    """One engine, with methods to make prompts and run them."""

    def __init__(self, loaded: LoadedModel, built: BuiltEngine) -> None:
        self._loaded = loaded
        self._engine = BareEngine(built.engine, PromptEncoder(loaded.tokenizer, built.context_tokens))
        self._chance = random.Random(0)

    def medium(self) -> Medium:
        """Returns a new random image, preprocessed for the model: no cache holds it."""
        assert self._loaded.media is not None
        pixels = bytes(self._chance.randrange(256) for _ in range(3 * 16 * 16))
        image = Image.frombytes("RGB", (16, 16), pixels).resize((SIDE, SIDE))
        return self._loaded.media.read(MediaKind.IMAGE, image, digest_of(MediaKind.IMAGE, image))

    def prompt(self, tokens: int, *, shows: bool = False) -> Prompt:
        """Returns a random prompt of this many tokens. If `shows`, `TOKENS` of them are those of an image."""
        assert self._loaded.media is not None
        first, count = first_word_id(), len(words())
        ids = [first + self._chance.randrange(count) for _ in range(tokens - (TOKENS if shows else 0))]
        if not shows:
            return Prompt(tuple(ids))
        medium, half = self.medium(), len(ids) // 2
        ids[half:half] = medium.inputs["input_ids"][0].tolist()
        placer = MediaPlacer(self._loaded.media, self._loaded.model)
        return Prompt(tuple(ids), placer.place(ids, [(MediaKind.IMAGE, medium)], "prompt"))

    async def run(self, prompt: Prompt, new_tokens: int) -> list[float]:
        """Generates `new_tokens` tokens and returns their arrival times."""
        stopping = StoppingCriteria(max_new_tokens=new_tokens)
        request = GenerationRequest(prompt.token_ids, SamplingParameters(), stopping, media=prompt.media)
        return await self._engine.token_times(request)

    def encode(self) -> float:
        """Returns the seconds that the image encoder takes for one image, while the engine is idle."""
        medium, encoder = self.medium(), MediaEncoder.of(self._loaded)
        began = time.perf_counter()
        encoder.encode([medium])
        return time.perf_counter() - began


@contextmanager
def running(folder: Path) -> Generator[Engine]:
    """Starts an engine on one thread, with a service's defaults but without the prefix cache."""
    torch.set_num_threads(1)
    loaded = load_multimodal_model(Checkpoint(str(folder), torch.device("cpu")))
    with started(loaded, EngineSettings(share_prefixes=False)) as built:
        yield Engine(loaded, built)
