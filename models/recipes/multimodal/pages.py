"""Pages with labels and values, as words with boxes, and as an image."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from models.recipes.multimodal.page_values import DATA, LISTS, Values, parts
from models.recipes.text.words import split

WIDTH, HEIGHT = 600, 800
KINDS = {
    "form": ("name", "birth", "street", "city", "phone", "mail", "job", "firm", "date", "number"),
    "invoice": ("firm", "number", "date", "due", "name", "street", "city", "total", "tax", "payment", "phone"),
    "receipt": ("date", "time", "clerk", "total", "tax", "payment", "number", "city"),
    "letter": ("sender", "recipient", "subject", "date", "street", "city", "number", "phone"),
}
"""Which fields a page of a kind may have."""
GOODS_ON = ("receipt", "invoice")
Box = tuple[float, float, float, float]
ROLES = ("", *(f"{part} {name}" for name in (*DATA["fields"], "goods") for part in ("label", "first", "further")))
"""What a word is: nothing that is asked for, or of a field's label, or the first or a further one of its value."""


@dataclass(frozen=True)
class Word:
    """A word and where it stands: left, upper, right and lower edge in pixels."""

    text: str
    box: Box


@dataclass(frozen=True)
class Entry:
    """A field of a page: what to ask for, and its value as the first and last of the page's words."""

    name: str
    first: int
    last: int


@dataclass
class Page:
    """Words in the order of reading, and what may be asked."""

    kind: str
    size: int
    words: list[Word] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    """One of ROLES for each word."""
    entries: list[Entry] = field(default_factory=list)

    @property
    def image(self) -> Image.Image:
        """The page, drawn."""
        page = Image.new("L", (WIDTH, HEIGHT), 255)
        pen = ImageDraw.Draw(page)
        for word in self.words:
            pen.text(word.box[:2], word.text, fill=0, font=font(self.size))
        return page

    def value(self, entry: Entry) -> str:
        """The words of an entry's value."""
        return " ".join(word.text for word in self.words[entry.first : entry.last + 1])


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


@dataclass(frozen=True)
class Phrase:
    """Words that stand side by side, of a field or of none: its label or its value."""

    text: str
    name: str = ""
    is_value: bool = False


Line = list[tuple[float, Phrase]]
"""Phrases of a line and where they begin, from left to right."""


@cache
def width_of(text: str, size: int) -> float:
    """How wide a text is drawn."""
    return font(size).getlength(text)


def set_words(page: Page, line: Line, top: float) -> None:
    """Writes a line onto the page."""
    for left, phrase in line:
        first, x = len(page.words), left
        for text in phrase.text.split():
            wide = width_of(text, page.size)
            page.roles.append(role_of(phrase, is_first=len(page.words) == first))
            page.words.append(Word(text, (x, top, x + wide, top + page.size)))
            x += wide + page.size * 0.3
        if phrase.is_value:
            page.entries.append(Entry(phrase.name, first, len(page.words) - 1))


def role_of(phrase: Phrase, is_first: bool) -> str:
    """What a word of a phrase is."""
    if not phrase.name:
        return ""
    part = "label" if not phrase.is_value else "first" if is_first else "further"
    return f"{part} {phrase.name.partition('/')[0]}"


Pair = tuple[str, str, str]
"""Field, label and value."""


def beside(rng: random.Random, pairs: list[Pair], left: float, size: int) -> Iterable[Line]:
    """Each value behind its label, close or all at one place; with a colon or without."""
    mark = rng.choice((":", ":", ""))
    tab = max(width_of(label, size) for _, label, _ in pairs) + 2 * size if rng.random() < 0.5 or not mark else 0
    for name, label, value in pairs:
        start = left + (tab or width_of(f"{label}{mark}", size) + size * 0.4)
        yield [(left, Phrase(label + mark, name)), (start, Phrase(value, name, is_value=True))]


def in_two_columns(rng: random.Random, pairs: list[Pair], left: float, size: int) -> Iterable[Line]:
    """Two labels with their values to a line."""
    half = (len(pairs) + 1) // 2
    middle = left + rng.uniform(250, 290)
    columns = [list(beside(rng, some, x, size)) for some, x in ((pairs[:half], left), (pairs[half:], middle)) if some]
    for at in range(half):
        yield [phrase for column in columns if at < len(column) for phrase in column[at]]


def below(_: random.Random, pairs: list[Pair], left: float, __: int) -> Iterable[Line]:
    """Each value under its label."""
    for name, label, value in pairs:
        yield [(left, Phrase(label, name))]
        yield [(left, Phrase(value, name, is_value=True))]


def below_in_columns(columns: int) -> Callable[[random.Random, list[Pair], float, int], Iterable[Line]]:
    """Values under their labels, so many side by side."""

    def lines(_: random.Random, pairs: list[Pair], left: float, __: int) -> Iterable[Line]:
        for at in range(0, len(pairs), columns):
            some = pairs[at : at + columns]
            places = [left + (WIDTH - left - 20) / columns * i for i in range(len(some))]
            yield [(x, Phrase(label, name)) for x, (name, label, _) in zip(places, some, strict=True)]
            yield [(x, Phrase(value, name, is_value=True)) for x, (name, _, value) in zip(places, some, strict=True)]

    return lines


LAYOUTS = {
    "beside": beside, "two columns": in_two_columns, "below": below, "below, two columns": below_in_columns(2),
    "below, three columns": below_in_columns(3),
}  # fmt: skip
TAUGHT = ("beside", "two columns", "below", "below, two columns")
"""Layouts of training; the other one is only measured."""


class PageWriter:
    """Writes pages of training, or such as are held out."""

    def __init__(self, held_out: bool) -> None:
        self._values = Values(held_out)

    def write(self, rng: random.Random, layout: str) -> Page:
        """A page of a random kind in a layout."""
        while not fits(page := self._page(rng, layout)):
            pass
        return page

    def _page(self, rng: random.Random, layout: str) -> Page:
        """A page whose words may run over its edges."""
        kind = rng.choice(tuple(KINDS))
        largest = 11 if "three" in layout else 13 if "two" in layout else 18
        page, left = Page(kind, rng.randrange(10, largest)), rng.uniform(20, 60)
        names = rng.sample(KINDS[kind], rng.randrange(4, min(8, len(KINDS[kind])) + 1))
        pairs = [(name, rng.choice(parts(DATA["fields"][name]["labels"])),
                  self._values.write(rng, DATA["fields"][name]["values"])) for name in names]  # fmt: skip
        blocks: list[list[Line]] = [list(LAYOUTS[layout](rng, pairs, left, page.size))]
        if kind in GOODS_ON and rng.random() < 0.6:
            blocks.insert(rng.randrange(2), list(self._goods(rng, left)))
        if rng.random() < 0.7:
            blocks.insert(0, [[(rng.uniform(left, 300), Phrase(rng.choice(LISTS["titles"])))]])
        if rng.random() < 0.6:
            blocks.append([[(left, Phrase(rng.choice(LISTS["fillers"])))]])
        top, step = rng.uniform(15, 80), page.size * rng.uniform(1.25, 2.2)
        for block in blocks:
            for line in block:
                set_words(page, line, top)
                top += step
            top += step * rng.uniform(0, 1)
        return page

    def _goods(self, rng: random.Random, left: float) -> Iterable[Line]:
        """Goods with their prices on the right."""
        price_at = left + rng.uniform(180, 330)
        for good in dict.fromkeys(self._values.good(rng) for _ in range(rng.randrange(2, 6))):
            name = f"goods/{good}"
            yield [(left, Phrase(good, name)), (price_at, Phrase(self._values.money(rng), name, is_value=True))]


def ask(rng: random.Random, name: str, held_out: bool) -> str:
    """A question for a field or for the price of a good; half of the time it says what the label may say."""
    if name.startswith("goods/"):
        good = name.removeprefix("goods/").removeprefix("a ")
        return rng.choice(split(parts(DATA["goods"]["asks"]))[held_out]).format(good)
    return rng.choice(split(parts(DATA["fields"][name]["asks"]))[held_out])


def fits(page: Page) -> bool:
    """Whether all words lie on the page."""
    return all(word.box[2] <= WIDTH and word.box[3] <= HEIGHT for word in page.words)


def fields_missing(page: Page) -> list[str]:
    """Fields that pages of some kind have, and this one has not."""
    there = {entry.name for entry in page.entries}
    return [name for name in DATA["fields"] if name not in there]
