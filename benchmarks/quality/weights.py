"""`python -m benchmarks.quality.weights`: how 8-bit weights change the likelihood of answers to held-out prompts."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from benchmarks.process import ROOT
from benchmarks.quality.conversations import conversations
from services.engine.narrow.model import narrow_weights, widen_weights
from services.engine.narrow.numbers import NarrowKind

CPU = torch.device("cpu")
_KINDS: tuple[NarrowKind, ...] = ("int8", "fp8_e4m3")
_MODELS = (ROOT / "models" / "chat", ROOT / "models" / "image-chat")

Asked = tuple[dict[str, Tensor], Tensor]
"""The model's inputs, right answer included, and the token ids of that answer."""


def main(
    model: Annotated[list[Path] | None, typer.Option(help="Folder; may be repeated. Default: both chats.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Of each model.")] = 200,
) -> None:
    """Scores right answers with the original and with rounded weights, in bfloat16 on the CPU."""
    torch.set_num_threads(1)
    table = Table("model", "weights", "perplexity", "same likeliest token", "divergence, bits")
    for folder in model or _MODELS:
        asked = [each for each, _ in zip(_asked(folder), range(prompts), strict=False)]
        answers = torch.cat([answer for _, answer in asked])
        own = _likelihoods(_load(folder), asked)
        table.add_row(folder.name, "bfloat16", f"{_perplexity(own, answers):.4f}", "", "")
        for kind in _KINDS:
            network = _load(folder)
            narrow_weights(network, kind, CPU)
            widen_weights(network)  # same results, and faster on a CPU
            found = _likelihoods(network, asked)
            same = (found.argmax(dim=1) == own.argmax(dim=1)).double().mean()
            bits = (own.exp() * (own - found)).sum(dim=1).mean() / torch.tensor(2.0).log()
            table.add_row("", kind, f"{_perplexity(found, answers):.4f}", f"{same:.2%}", f"{bits:.5f}")
    Console(width=120).print(table)


def _load(folder: Path) -> Any:
    sees = "vision_config" in json.loads((folder / "config.json").read_text())
    kind: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype=torch.bfloat16).eval()


def _asked(folder: Path) -> Iterator[Asked]:
    lines = [json.loads(line) for line in (folder / "held_out.jsonl").read_text().splitlines()]
    if isinstance(lines[0], dict):
        yield from _about_images(folder, lines)
        return
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    for text, answer in islice(conversations(tokenizer, folder), 0, None, max(len(lines) // 200, 1)):
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        yield _with_answer({"input_ids": ids}, tokenizer, answer)


def _about_images(folder: Path, lines: list[dict[str, Any]]) -> Iterator[Asked]:
    processor: Any = AutoProcessor.from_pretrained(folder, backend="pil")
    for line in lines:
        with Image.open(folder / line["image"]) as image:
            for _, question, answer in line["asked"]:
                turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
                text = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
                given = processor(images=image, text=text, add_special_tokens=False, return_tensors="pt")
                given["pixel_values"] = given["pixel_values"].to(torch.bfloat16)
                yield _with_answer(dict(given), processor.tokenizer, answer)


def _with_answer(given: dict[str, Tensor], tokenizer: Any, answer: str) -> Asked:
    ids = tokenizer(answer, add_special_tokens=False, return_tensors="pt")["input_ids"]
    given["input_ids"] = torch.cat([given["input_ids"], ids], dim=1)
    return {name: value for name, value in given.items() if name in ("input_ids", "pixel_values")}, ids[0]


@torch.inference_mode()
def _likelihoods(network: Any, asked: list[Asked]) -> Tensor:
    """Returns the log-probabilities of each token of all answers, `[tokens, vocabulary]`."""
    logits = [network(**given).logits[0, -len(answer) - 1 : -1].float() for given, answer in asked]
    return torch.cat(logits).log_softmax(dim=1)


def _perplexity(likelihoods: Tensor, answers: Tensor) -> float:
    return float((-likelihoods.gather(1, answers.unsqueeze(1)).mean()).exp())


if __name__ == "__main__":
    typer.run(main)
