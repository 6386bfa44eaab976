"""Reference texts about a picture, from transformers' own `generate`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoConfig, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor


class OwnPictures:
    """One of the tiny models, run by transformers alone, in float32 on the CPU."""

    def __init__(self, folder: Path) -> None:
        (name,) = AutoConfig.from_pretrained(folder).architectures
        self._name = name
        self._model: Any = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
        self._processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._folder = folder

    def write(self, image: Image.Image, text: str = "", count: int = 12, **options: Any) -> list[int]:
        """Returns up to `count` new token ids, decoded greedily; `text` is the prompt, or the question to answer."""
        inputs, prompt = self._inputs(image, text)
        with torch.inference_mode():
            output = self._model.generate(**inputs, max_new_tokens=count, do_sample=False, **options)
        return output[0, prompt:].tolist()

    def text(self, ids: list[int], behind: str = "") -> str:
        """Decodes tokens as the continuation of the prompt `behind`."""
        before = self.tokenizer(behind, add_special_tokens=False).input_ids
        whole, start = (self.tokenizer.decode(each, skip_special_tokens=True) for each in ([*before, *ids], before))
        assert whole.startswith(start)
        return whole[len(start) :]

    def _inputs(self, image: Image.Image, text: str) -> tuple[dict[str, Any], int]:
        """Returns the inputs of `generate`, and how many leading tokens of its output belong to the prompt."""
        if self._name.startswith("Pix2Struct"):
            return self._patches(image, text)
        pixels = self._processor(images=image, return_tensors="pt")
        if self._name == "BlipForQuestionAnswering":
            return {**pixels, "input_ids": self.tokenizer(text, return_tensors="pt").input_ids}, 1
        if self._name == "BlipForConditionalGeneration":
            ids = self.tokenizer(text, return_tensors="pt").input_ids
            return ({**pixels, "input_ids": ids}, ids.shape[1] - 1) if text else ({**pixels}, 1)
        ids = self.tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids.long()
        if self._name == "GitForCausalLM":
            ids = torch.cat([torch.tensor([[self.tokenizer.cls_token_id]]), ids], dim=1)
            return {**pixels, "input_ids": ids}, ids.shape[1]
        framed = text.startswith("<s_docvqa>")
        given = {"decoder_input_ids": ids} if text else {}
        return {**pixels, **given}, ids.shape[1] + (not framed)

    def _patches(self, image: Image.Image, text: str) -> tuple[dict[str, Any], int]:
        if not self._processor.is_vqa:
            ids = self.tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids.long()
            given = {"decoder_input_ids": ids} if text else {}
            return {**self._processor(images=image, return_tensors="pt"), **given}, ids.shape[1] + 1
        font = str(self._folder / "Arial.TTF")
        written = self._processor.render_header(np.asarray(image).transpose(2, 0, 1), text, font_path=font)
        return {**self._processor(images=written, return_tensors="pt", is_vqa=False)}, 1
