"""Static batches in process, by transformers alone: `python -m benchmarks.encoders.batches text|images --model DIR`.

Prints items per second. That includes preprocessing, as in a server: tokenizing, or decoding and resizing.
"""

import argparse
import io
import time
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from transformers import AutoModel, AutoModelForImageClassification, AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from benchmarks.encoders.inputs import pictures, text

BATCH = 32


def main() -> None:
    """Runs batches for the time asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["text", "images"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = (_texts if options.kind == "text" else _images)(options.model, getattr(torch, options.dtype))
    run(0)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + options.seconds:
        run(count + 1)
        count += 1
    print(f"{count * BATCH / (time.perf_counter() - begin):.2f}", flush=True)


def _texts(folder: str, dtype: torch.dtype) -> Callable[[int], Any]:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=dtype).eval()

    @torch.inference_mode()
    def run(number: int) -> list[list[float]]:
        inputs = tokenizer([text(number, i) for i in range(BATCH)], padding=True, return_tensors="pt")
        states = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][..., None]
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).tolist()

    return run


def _images(folder: str, dtype: torch.dtype) -> Callable[[int], Any]:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=dtype).eval()
    files = pictures()

    @torch.inference_mode()
    def run(number: int) -> list[list[float]]:
        images = [Image.open(io.BytesIO(files[(number + i) % len(files)])).convert("RGB") for i in range(BATCH)]
        pixels = processor(images, return_tensors="pt")["pixel_values"].to(dtype)
        return model(pixels).logits.float().softmax(-1).topk(5).values.tolist()

    return run


if __name__ == "__main__":
    main()
