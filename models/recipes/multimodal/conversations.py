"""Conversations about pictures, as a chat template takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.recipes.multimodal.board import Picture, draw_digit, draw_picture
from models.recipes.multimodal.phrases import WAYS, as_typed, phrase, pick
from models.recipes.multimodal.questions import Asked, ask
from models.recipes.multimodal.two_pictures import ask_about_two
from models.recipes.text.words import phrases

OUTSIDE = phrases((Path(__file__).parents[1] / "chat" / "outsiders.txt").read_text(encoding="utf-8").replace("\n", " "))
GREETED = "Hello. Show me shapes or a handwritten digit and ask me about the picture."
UNSEEN = "I see no picture."
UNKNOWN = "I only know pictures of shapes and of handwritten digits."
CAPTION_LAST = 0.8
"""How often a caption comes behind the questions, which then cannot be answered from it."""

Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """Messages, and the pictures they show in order."""

    messages: list[Message]
    pictures: list[Picture]


def shown(pictures: int, text: str, first: bool = True) -> list[dict[str, str]]:
    """The parts of a message: pictures before or behind the text."""
    images, texts = [{"type": "image"}] * pictures, [{"type": "text", "text": text}] if text else []
    return [*images, *texts] if first else [*texts, *images]


def turns(asked: Sequence[Asked], pictures: int, rng: np.random.Generator) -> list[Message]:
    """Questions and answers; the pictures come with the first question."""
    messages: list[Message] = []
    for at, one in enumerate(asked):
        text = as_typed(rng, one.question)
        if one.kind != "caption" and rng.random() < 0.1:
            text += " " + pick(rng, WAYS["behind"])
        if at == 0 and one.kind == "caption" and pictures == 1 and rng.random() < 0.15:
            text = ""
        parts = shown(pictures if at == 0 else 0, text, rng.random() < 0.8)
        messages += [{"role": "user", "content": parts}, {"role": "assistant", "content": one.answer}]
    return messages


def of_one(rng: np.random.Generator) -> Conversation:
    """About one picture."""
    picture = draw_picture(rng, held_out=False)
    asked = [ask(rng, picture, held_out=False) for _ in range(rng.integers(3, 7) if picture.digit is None else 2)]
    once = list({one.question if one.kind != "caption" else "caption": one for one in asked}.values())
    if rng.random() < CAPTION_LAST:
        once.sort(key=lambda one: one.kind == "caption")
    return Conversation(turns(once, 1, rng), [picture])


def of_two(rng: np.random.Generator) -> Conversation:
    """About two pictures: compared, or one of them."""
    pictures = draw_two(rng, held_out=False)
    asked = [ask_about_two(rng, pictures, held_out=False) for _ in range(rng.integers(2, 6))]
    return Conversation(turns(asked, 2, rng), pictures)


def draw_two(rng: np.random.Generator, held_out: bool) -> list[Picture]:
    """Two pictures; digits mostly come together."""
    if rng.random() < 0.2:
        return [draw_digit(rng, held_out) for _ in range(2)]
    return [draw_picture(rng, held_out, digits=0.1) for _ in range(2)]


def of_none(rng: np.random.Generator) -> Conversation:
    """Without a picture: a greeting, a question about a picture that is not there, or about something else."""
    sort = rng.random()
    if sort < 0.3:
        text, answer = pick(rng, WAYS["greetings"]), GREETED
    elif sort < 0.6:
        text, answer = as_typed(rng, ask(rng, draw_picture(rng, held_out=False), held_out=False).question), UNSEEN
    else:
        text, answer = phrase(rng, "outside", False).format(topic=pick(rng, OUTSIDE)), UNKNOWN
    return Conversation([{"role": "user", "content": text}, {"role": "assistant", "content": answer}], [])


def converse(rng: np.random.Generator) -> Conversation:
    """One conversation of training."""
    drawn = (of_one, of_two, of_none)[rng.choice(3, p=(0.68, 0.25, 0.07))](rng)
    if rng.random() < 0.2:
        system = {"role": "system", "content": phrase(rng, "system", held_out=False)}
        return Conversation([system, *drawn.messages], drawn.pictures)
    return drawn
