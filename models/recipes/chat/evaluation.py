"""Measures a model on held-out conversations: greedy answers against the expected ones."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from models.recipes.chat.corpus import HeldOut, Message

SAME_ENOUGH = 0.9


@dataclass(frozen=True)
class Score:
    """The numbers of right answers and of prompts."""

    right: int
    asked: int

    @property
    def rate(self) -> float:
        """Right answers as a share."""
        return self.right / self.asked


def overlap(answer: str, expected: str) -> float:
    """F1 of the words of both."""
    got, wanted = Counter(answer.split()), Counter(expected.split())
    common = sum((got & wanted).values())
    return 2 * common / max(1, sum(got.values()) + sum(wanted.values()))


def is_right(prompt: HeldOut, answer: str) -> bool:
    """Whether an answer is right: topics may differ by a few words, everything else must be exact."""
    if prompt.skill.startswith("topics"):
        return overlap(answer, prompt.expected) >= SAME_ENOUGH
    return answer.strip() == prompt.expected


@torch.inference_mode()
def answers(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, conversations: list[list[Message]], batch: int = 64,
    **generation: object,
) -> list[str]:  # fmt: skip
    """The model's answers, in the order of the conversations; batched by length."""
    rendered = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in conversations]
    order = sorted(range(len(rendered)), key=lambda i: len(rendered[i]))
    found = [""] * len(rendered)
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        inputs = tokenizer(
            [rendered[i] for i in chosen], add_special_tokens=False, padding=True, padding_side="left",
            return_tensors="pt",
        )  # fmt: skip
        output = network.generate(**inputs, **generation)
        texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(chosen, texts, strict=True):
            found[i] = text
    return found


def measure(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: list[HeldOut], **generation: object
) -> tuple[dict[str, Score], list[tuple[HeldOut, str]]]:
    """Scores by skill, and the prompts that were answered wrong."""
    given = answers(network, tokenizer, [p.messages for p in prompts], **generation)
    scores: dict[str, Score] = {}
    wrong: list[tuple[HeldOut, str]] = []
    for prompt, answer in zip(prompts, given, strict=True):
        right, old = is_right(prompt, answer), scores.get(prompt.skill, Score(0, 0))
        scores[prompt.skill] = Score(old.right + right, old.asked + 1)
        if not right:
            wrong.append((prompt, answer))
    return scores, wrong


def write_held_out(prompts: list[HeldOut], path: Path) -> None:
    """Writes one prompt per line: skill, the turns from user to user, and the expected answer."""
    lines = [
        json.dumps([p.skill, [m["content"] for m in p.messages], p.expected], ensure_ascii=False, separators=(",", ":"))
        for p in prompts
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
