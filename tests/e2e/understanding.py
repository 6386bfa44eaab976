"""What the tests of models that read once have in common: texts of every kind, and transformers' own answers."""

import random
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf.message import Message
from transformers import AutoTokenizer, pipeline

from sensorium import InvalidArgument
from tests.own_models import own
from tests.tiny.encoders import TEXTS

TOLERANCE = 2e-5
"""Of probabilities, and of logits of about 1: what a batch may differ from a text alone, in float32."""

_ALPHABET = "abdeghilnorstu ABT" + "äéñüß" + "東京都" + "한글" + "🙂👩‍🚀" + ".,-'!() \t\n" + "0129" + "e\u0301"


def random_texts(count: int, *, words: int = 6, seed: int = 0) -> list[str]:
    """Returns texts of the vocabulary's words and of letters of several scripts, marks and emoji, none empty."""
    chance = random.Random(seed)
    known = " ".join(TEXTS).split()

    def word() -> str:
        if chance.random() < 0.5:
            return chance.choice(known)
        return "".join(chance.choices(_ALPHABET, k=chance.randint(1, 8)))

    return [
        chance.choice(["", " "]) + chance.choice([" ", "", " "]).join(word() for _ in range(chance.randint(1, words)))
        for _ in range(count)
    ]


def transformers_pipeline(task: str, folder: Path) -> Callable[..., Any]:
    """Returns transformers' own pipeline in float32, which may warn of what its heuristics cannot do."""
    made: Any = pipeline(task, model=str(folder), device="cpu", dtype=torch.float32)  # type: ignore[call-overload]

    def run(*arguments: Any, **named: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return made(*arguments, **named)

    return run


def own_model(folder: Path, auto_class: Any) -> Callable[..., Any]:
    """Returns a function from what a tokenizer takes to the model's own output, for one text or pair alone."""
    model = own(auto_class, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def run(*texts: str, **named: Any) -> Any:
        return model(**tokenizer(*texts, return_tensors="pt", **named))

    return run


async def violations(call: Callable[[Any], Awaitable[Any]], request: Message) -> dict[str, str]:
    """Returns what is wrong with a request, by field, in the order told."""
    with pytest.raises(InvalidArgument) as caught:
        await call(request)
    return {violation.field: violation.description for violation in caught.value.violations}
