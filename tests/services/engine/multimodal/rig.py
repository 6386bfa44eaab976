"""A model that reads media on a running engine, beside the same model by itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from prometheus_client import CollectorRegistry

from services.engine.checkpoint import Checkpoint
from services.engine.generation.building.build import BuiltEngine, EngineSettings, build_engine
from services.engine.language.prompting import PromptEncoder
from services.engine.language.texts import Chat
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.loading import load_multimodal_model
from services.engine.multimodal.processor import digest_of
from services.engine.multimodal.prompts import MultimodalPrompt, PromptComposer
from tests.own_multimodal import OwnModel, Said, part
from tests.services.bench import Result, at_once, outputs_of, read, request


@dataclass
class Rig:
    """One model twice: on the engine, and by itself."""

    name: str
    loaded: LoadedModel
    built: BuiltEngine
    composer: PromptComposer
    own: OwnModel
    registry: CollectorRegistry

    @classmethod
    def start(cls, folder: Path, name: str, processor: Any = None, **settings: Any) -> "Rig":
        loaded = load_multimodal_model(Checkpoint(str(folder), torch.device("cpu")))
        registry = CollectorRegistry()
        built = build_engine(loaded, EngineSettings(**settings), EngineMetrics(registry))
        built.engine.start()
        assert loaded.media is not None
        composer = PromptComposer(loaded.media, PromptEncoder(loaded.tokenizer, loaded.context_tokens), loaded.model)
        return cls(name, loaded, built, composer, OwnModel(folder, name, processor), registry)

    def compose(self, *said: Said) -> MultimodalPrompt:
        """Returns the prompt of one turn of a user."""
        processor, cache, media = self.loaded.media, self.built.media_cache, []
        assert processor is not None
        assert cache is not None
        images = sum(isinstance(each, Image.Image) for each in said)
        for each in said:
            if not isinstance(each, str):
                kind = MediaKind(part(each)["type"])
                beside = processor.beside(kind, images)
                digest = digest_of(kind, each, beside=beside)
                medium = cache.find(digest) or cache.add(processor.read(kind, each, digest, beside=beside))
                media.append((kind, medium))
        chat = Chat([{"role": "user", "content": [part(each) for each in said]}], tools=[], continue_last=False)
        return self.composer.compose(chat, media)

    async def run(self, *said: Said, **fields: Any) -> Result:
        """Returns what the engine continues a turn with."""
        prompt = self.compose(*said)
        asked = request(prompt.token_ids, media=prompt.media, **fields)
        return await read(self.built.engine.submit(asked, *outputs_of(asked)))

    async def must_generate_its_own(self, turns: Sequence[tuple[Said, ...]], count: int = 6) -> None:
        """Compares what the engine continues each turn with to the model's own `generate`, and ends the engine."""
        try:
            expected = [self.own.generate(*turn, count=count) for turn in turns]
            assert len(set(map(tuple, expected))) == len(turns)
            assert [(await self.run(*turn, max_new_tokens=count)).ids for turn in turns] == expected
        finally:
            self.built.engine.close()

    async def run_all(self, *turns: tuple[Said, ...], **fields: Any) -> list[Result]:
        """Returns what the engine continues turns with that begin together."""
        prompts = [self.compose(*turn) for turn in turns]
        asked = [request(prompt.token_ids, media=prompt.media, **fields) for prompt in prompts]
        with at_once(self.built.engine):
            streams = [self.built.engine.submit(one, *outputs_of(one)) for one in asked]
        return await asyncio.gather(*map(read, streams))

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(f"sensorium_engine_{name}") or 0.0
