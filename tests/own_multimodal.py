"""Reference outputs for conversations with media, from transformers' own processor and `generate`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoConfig

from tests.tiny import multimodal_models as tiny
from tests.tiny.media_readers import RATE

Samples = NDArray[np.float32]
Said = str | Image.Image | Samples
"""One part of a user's turn: text, an image, or a mono recording at RATE."""


MORE: dict[str, dict[str, Any]] = {"vibevoice_asr": {"sample": False}}
"""More arguments of `generate`, by model: VibeVoice would sample its audio encoding, which adds noise."""


class OwnModel:
    """One of the tiny models, run by transformers alone, in float32 on the CPU."""

    def __init__(self, folder: Path, name: str, processor: Any = None) -> None:
        """`processor` is needed for a model that `tests.tiny.multimodal_models` does not know."""
        self._processor = processor or tiny.processor(name)
        kind = tiny.model_class(AutoConfig.from_pretrained(folder))
        self._model: Any = kind.from_pretrained(folder, dtype=torch.float32).eval()
        self._model.generation_config.eos_token_id = None  # so that all outputs have the same length
        self._more = MORE.get(name, {})

    def generate(self, *said: Said, count: int = 12, template: str | None = None) -> list[int]:
        """Returns the token ids of a greedy answer to one user turn.

        `template` replaces the model's own chat template.
        """
        inputs = self._inputs(said, template)
        with torch.inference_mode():
            output = self._model.generate(**inputs, **self._more, max_new_tokens=count, do_sample=False)
        return output[0, inputs["input_ids"].shape[1] :].tolist()

    def _inputs(self, said: tuple[Said, ...], template: str | None) -> dict[str, Any]:
        processor = self._processor
        chat = [{"role": "user", "content": [part(each) for each in said]}]
        text = processor.tokenizer.apply_chat_template(
            chat, chat_template=template or processor.chat_template, add_generation_prompt=True, tokenize=False
        )
        images = [each for each in said if isinstance(each, Image.Image)]
        audio = [each for each in said if isinstance(each, np.ndarray)]
        # Nested as `apply_chat_template` does: LLaVA-OneVision takes a flat list for the images of several prompts.
        nested = "batch_num_images" in processor.image_processor.model_input_names if images else False
        media: dict[str, Any] = {"images": [images] if nested else images} if images else {}
        if audio:
            media |= {"audio": audio, "sampling_rate": RATE}
        if text.startswith(processor.tokenizer.bos_token):
            media["add_special_tokens"] = False  # as `apply_chat_template` does
        inputs = processor(text=text, return_tensors="pt", **media)
        # Llama 4's processor returns bfloat16 pixels whatever the model's dtype is.
        return {name: each.float() if each.is_floating_point() else each for name, each in inputs.items()}


def part(said: Said) -> dict[str, str]:
    """Returns a part of a turn in the form that chat templates read."""
    if isinstance(said, str):
        return {"type": "text", "text": said}
    return {"type": "audio" if isinstance(said, np.ndarray) else "image"}


def recording(seed: int, seconds: float = 0.6) -> Samples:
    """Returns noise at RATE: `[samples]`, float32."""
    return np.random.default_rng(seed).normal(0, 0.2, int(seconds * RATE)).astype(np.float32)


def shown(name: str) -> list[Said]:
    """Returns four images or recordings that model `name` reads, all of different sizes."""
    if name == "qwen2_audio":
        return [recording(seed, 0.3 + 0.15 * seed) for seed in range(4)]
    return [tiny.picture(seed, 60 + 9 * seed, 40 + 7 * seed) for seed in range(4)]
