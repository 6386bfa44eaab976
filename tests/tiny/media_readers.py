"""Image processors and feature extractors of the tiny multimodal models, by model name."""

from collections.abc import Callable
from typing import Any

from transformers import WhisperFeatureExtractor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

RATE = 16_000
"""Sample rate of recordings, in Hz."""
PINPOINTS = [[32, 64], [64, 32], [64, 64]]
"""Sizes from which LLaVA-OneVision chooses the one it tiles an image for."""
_SQUARE = {"height": 32, "width": 32}


def _of_paligemma() -> Any:
    reader = SiglipImageProcessorPil(size=_SQUARE)
    reader.image_seq_length = 16
    return reader


def _of_qwen() -> Any:
    return Qwen2VLImageProcessorPil(size={"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16})


READERS: dict[str, Callable[[], Any]] = {
    "gemma3": lambda: Gemma3ImageProcessorPil(size=_SQUARE),
    "idefics2": lambda: Idefics2ImageProcessorPil(
        size={"shortest_edge": 32, "longest_edge": 48}, do_image_splitting=False
    ),
    "idefics3": lambda: Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
    "llava": lambda: CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SQUARE),
    "llava_onevision": lambda: LlavaOnevisionImageProcessorPil(size=_SQUARE, image_grid_pinpoints=PINPOINTS),
    "paligemma": _of_paligemma,
    "qwen2_5_vl": _of_qwen,
    "qwen2_audio": lambda: WhisperFeatureExtractor(feature_size=16, chunk_length=1, sampling_rate=RATE),
    "qwen2_vl": _of_qwen,
    "qwen3_vl": _of_qwen,
    "smolvlm": lambda: SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
}
