"""Evaluates image-chat: held-out pictures, questions about them, and the share of exact answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from models.recipes.multimodal.board import Picture, draw_board, draw_digit
from models.recipes.multimodal.conversations import draw_two
from models.recipes.multimodal.questions import Asked, ask, attempt
from models.recipes.multimodal.two_pictures import ORDINALS, ask_of_one, compare
from models.recipes.vision.items import Item
from models.recipes.vision.recipe import Served

HELD_OUT_SEED = 1013
LONGEST_ANSWER = 80
PARTS = {
    "caption": "caption, figures", "count_all": "how many", "count": "how many", "colour": "colour", "kind": "shape",
    "size": "size", "where": "where", "exists": "is there", "at": "what is at a place", "beside": "what is beside",
    "relation": "is it beside",
}  # fmt: skip
"""Kinds of questions that every picture of figures is asked, and their names on the card."""


def draw(count: int, seed: int = HELD_OUT_SEED) -> list[Item]:
    """Held-out pictures with questions; every fourth item has two pictures. Some are put in ways that are held out."""
    rng = np.random.default_rng(seed)
    return [two_pictures(rng) if at % 4 == 3 else one_picture(rng, digit=at % 4 == 1) for at in range(count)]


def one_picture(rng: np.random.Generator, digit: bool) -> Item:
    """A picture with a question of every kind that it lets one ask."""
    picture = draw_digit(rng, held_out=True) if digit else draw_board(rng)
    parts = {"caption": "caption, digit", "digit": "which digit"} if digit else PARTS
    rows = [(part, attempt(rng, picture, kind, held_out=False, tries=20)) for kind, part in parts.items()]
    rows += [("new ways to ask", ask(rng, picture, held_out=True)) for _ in range(1 if digit else 2)]
    return item_of([picture], [(part, asked) for part, asked in rows if asked is not None])


def two_pictures(rng: np.random.Generator) -> Item:
    """Two pictures with questions that compare them, and one about one of them."""
    pictures = draw_two(rng, held_out=True)
    compared = [compare(rng, pictures, held_out=False) for _ in range(3)]
    rows = [("two pictures compared", asked) for asked in {a.question: a for a in compared}.values()]
    return item_of(pictures, [*rows, ("one of two pictures", ask_of_one(rng, pictures, held_out=False))])


def item_of(pictures: list[Picture], rows: list[tuple[str, Asked]]) -> Item:
    """The pictures, and what is asked."""
    first, *others = (picture.image for picture in pictures)
    asked = [[part, a.question, a.answer] for part, a in rows]
    return Item(first, {"asked": asked}, dict(zip(ORDINALS[1:], others, strict=False)))


@torch.inference_mode()
def answers(served: Served, images: list[Image.Image], questions: Sequence[str]) -> list[str]:
    """The answers to questions about the images, each asked alone."""
    shown = [{"type": "image"}] * len(images)
    prompts = [
        served.images.apply_chat_template(
            [{"role": "user", "content": [*shown, {"type": "text", "text": question}]}], add_generation_prompt=True
        )
        for question in questions
    ]
    inputs = served.images(
        images=images * len(questions), text=prompts, padding=True, add_special_tokens=False, return_tensors="pt"
    )  # fmt: skip
    output = served.network.generate(**inputs, max_new_tokens=LONGEST_ANSWER)
    return served.tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def measure(served: Served, items: list[Item]) -> dict[str, float]:
    """How many answers are exact, by kind of question."""
    marks = defaultdict[str, list[bool]](list)
    for item in items:
        asked = item.expected["asked"]
        given = answers(served, [item.image, *item.maps.values()], [question for _, question, _ in asked])
        for (part, _, wanted), answer in zip(asked, given, strict=True):
            marks[part].append(answer == wanted)
    return {f"exact, {part}": float(np.mean(right)) for part, right in sorted(marks.items())}
