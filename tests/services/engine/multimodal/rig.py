"""A model that reads media on a running engine, and what transformers alone makes of the same prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CollectorRegistry
from transformers import AutoModelForMultimodalLM, PreTrainedModel

from services.engine.checkpoint import Checkpoint
from services.engine.generation.build import BuiltEngine, EngineSettings, build_engine
from services.engine.loading import LoadedModel
from services.engine.metrics import EngineMetrics
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.loading import load_multimodal_model
from services.engine.multimodal.processor import Decoded, digest_of
from services.engine.multimodal.prompts import MultimodalPrompt, PromptComposer
from services.engine.prompting import PromptEncoder
from services.engine.texts import Chat
from tests import tiny_multimodal_models as tiny
from tests.services.bench import Result, outputs_of, read, request

Said = Sequence[str | Decoded]
"""What a user says and shows."""


@dataclass
class Rig:
    """One model twice: on the engine, and by itself."""

    name: str
    loaded: LoadedModel
    built: BuiltEngine
    composer: PromptComposer
    own: PreTrainedModel
    registry: CollectorRegistry

    @classmethod
    def start(cls, folder: Path, name: str, **settings: Any) -> "Rig":
        loaded = load_multimodal_model(Checkpoint(str(folder), torch.device("cpu")))
        registry = CollectorRegistry()
        built = build_engine(loaded, EngineSettings(**settings), EngineMetrics(registry))
        built.engine.start()
        assert loaded.media is not None
        composer = PromptComposer(loaded.media, PromptEncoder(loaded.tokenizer, tiny.CONTEXT), loaded.model)
        own = AutoModelForMultimodalLM.from_pretrained(folder, dtype=torch.float32).eval()
        return cls(name, loaded, built, composer, own, registry)

    def compose(self, *said: str | Decoded) -> MultimodalPrompt:
        """Returns the prompt of one turn of a user."""
        parts = [_part(each) for each in said]
        assert self.loaded.media is not None
        assert self.built.media_cache is not None
        cache, media = self.built.media_cache, []
        for each in said:
            if not isinstance(each, str):
                kind = _kind(each)
                digest = digest_of(kind, each)
                medium = cache.find(digest) or cache.add(self.loaded.media.read(kind, each, digest))
                media.append((kind, medium))
        chat = Chat([{"role": "user", "content": parts}], tools=[], continue_last=False)
        return self.composer.compose(chat, media)

    async def run(self, *said: str | Decoded, **fields: Any) -> Result:
        """Returns what the engine continues a turn with."""
        prompt = self.compose(*said)
        asked = request(prompt.token_ids, media=prompt.media, **fields)
        return await read(self.built.engine.submit(asked, *outputs_of(asked)))

    def generate(self, *said: str | Decoded, count: int = 12, **options: Any) -> list[int]:
        """Returns what transformers' own processor and `generate` continue a turn with, greedily."""
        inputs = self._inputs(said)
        with torch.inference_mode():
            output = self.own.generate(**inputs, max_new_tokens=count, min_new_tokens=count, do_sample=False, **options)  # type: ignore[operator]
        return output[0, inputs["input_ids"].shape[1] :].tolist()

    def _inputs(self, said: Said) -> dict[str, Any]:
        processor = tiny.processor(self.name)
        chat = [{"role": "user", "content": [_part(each) for each in said]}]
        text = processor.tokenizer.apply_chat_template(
            chat, chat_template=processor.chat_template, add_generation_prompt=True, tokenize=False
        )
        images = [each for each in said if isinstance(each, Image.Image)]
        audio = [each for each in said if isinstance(each, np.ndarray)]
        media: dict[str, Any] = {"images": images} if images else {}
        if audio:
            media |= {"audio": audio, "sampling_rate": tiny.RATE}
        return processor(text=text, return_tensors="pt", add_special_tokens=False, **media)

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(f"sensorium_engine_{name}") or 0.0


def recording(seed: int, seconds: float = 0.6) -> NDArray[np.float32]:
    """Returns noise."""
    return np.random.default_rng(seed).normal(0, 0.2, int(seconds * tiny.RATE)).astype(np.float32)


def _kind(medium: Decoded) -> MediaKind:
    return MediaKind.AUDIO if isinstance(medium, np.ndarray) else MediaKind.IMAGE


def _part(said: str | Decoded) -> dict[str, str]:
    return {"type": "text", "text": said} if isinstance(said, str) else {"type": _kind(said).value}
