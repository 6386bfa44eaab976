"""Sentences with names and dates, and where these stand in them."""

from __future__ import annotations

import random
import re

from models.recipes.chat.dates import DAYS, MONTHS
from models.recipes.chat.vocabulary import NAMES, invented_word
from models.recipes.text.disguise import ORDINARY, ORDINARY_WORDS, disguised
from models.recipes.text.words import phrases, read_data, split

DATA = read_data("entities")
Marked = tuple[str, list[tuple[int, int, str]]]
"""A text and its spans: first character, character behind the last, kind."""

INSTITUTIONS = phrases(DATA["lists"]["institutions"])
ENDS = phrases(DATA["lists"]["firm_ends"])
SLOT = re.compile(r"\{(PER|LOC|ORG|DATE)2?\}")
BRACKETS = re.compile(r"\[(PER|LOC|ORG|DATE) ([^\]]+)\]")


def drawn_date(rng: random.Random, in_front: str) -> str:
    """A date as people write it; behind `in` a year or a month, behind `on` a day."""
    year, month, day = rng.randrange(1900, 2040), rng.choice(MONTHS), rng.randrange(1, 29)
    if in_front.lower().endswith("in "):
        return rng.choice((f"{year}", f"{month} {year}", month))
    return rng.choice(
        (f"{day} {month} {year}", f"{month} {day}, {year}", f"{day} {month}", f"{month} {day}", rng.choice(DAYS),
         f"{year}-{1 + MONTHS.index(month):02}-{day:02}", f"{day}/{1 + MONTHS.index(month)}/{year}",
         f"{rng.choice(DAYS)}, {day} {month}")
    )  # fmt: skip


class NameWriter:
    """Writes sentences from one set of templates and one part of all names."""

    def __init__(self, templates: list[str], plain: list[str], part: int, invents: bool) -> None:
        given = DATA["lists"]
        self._templates, self._plain, self._invents = templates, plain, invents
        self._first, self._last, self._places, self._firms = (
            split(words)[part]
            for words in (NAMES, phrases(given["surnames"]), phrases(given["places"]), phrases(given["firms"]))
        )
        lists = (self._first, self._last, self._places, self._firms)
        self._single = [word for words in lists for word in words if word.isalpha() and len(word) > 2]

    def _word(self, rng: random.Random, words: list[str]) -> str:
        """A word of the list; in training more often no name at all: the words around it must tell its kind."""
        if not self._invents or rng.random() < 0.35:
            return rng.choice(words)
        if rng.random() < 0.4:
            return invented_word(rng).capitalize()
        start, end = rng.choice(self._single), rng.choice(self._single)
        return start[: rng.randrange(1, len(start))] + end[rng.randrange(1, len(end)) :].lower()

    def _name(self, rng: random.Random, kind: str, in_front: str) -> str:
        if kind == "DATE":
            return drawn_date(rng, in_front)
        if kind == "LOC":
            return self._word(rng, self._places)
        first, last = self._word(rng, self._first), self._word(rng, self._last)
        if kind == "PER":
            is_polite = in_front.endswith(". ")
            return (
                last if is_polite else rng.choice((first, f"{first} {last}", f"{first} {last}", f"{first[0]}. {last}"))
            )
        if rng.random() < 0.35:
            cities = [place for place in self._places if " " not in place]
            place, second = self._word(rng, cities), self._word(rng, self._last)
            return rng.choice(INSTITUTIONS).format(place=place, surname=last, surname2=second)
        firm = rng.choice((self._word(rng, self._firms), last))
        return (
            f"{firm} {rng.choice(ENDS)}"
            if rng.random() < 0.9
            else f"{firm} {self._word(rng, self._firms)} {rng.choice(ENDS)}"
        )

    def write(self, rng: random.Random) -> Marked:
        """One sentence or two, some of them without any name."""
        text, spans = self._sentence(rng)
        if rng.random() < 0.25:
            more, found = self._sentence(rng)
            shift = len(text) + 1
            return f"{text} {more}", spans + [(start + shift, end + shift, kind) for start, end, kind in found]
        return text, spans

    def _between(self, rng: random.Random, words: str) -> str:
        """The words between names, some of them changed in training: small letters name nothing, nor does a start."""
        if not self._invents:
            return words
        first, space, rest = words.partition(" ")
        if first.isalpha() and first[0].isupper() and space and rng.random() < 0.2:
            words = f"{rng.choice(ORDINARY_WORDS).capitalize()} {rest}"
        return disguised(rng, words)

    def _sentence(self, rng: random.Random) -> Marked:
        if self._plain and rng.random() < 0.2:
            return disguised(rng, rng.choice(self._plain if rng.random() < 0.3 else ORDINARY)), []
        template, text, spans, at = rng.choice(self._templates), "", [], 0
        for slot in SLOT.finditer(template):
            text += self._between(rng, template[at : slot.start()])
            name = self._name(rng, slot[1], text)
            if not text:
                name = name[0].upper() + name[1:]
            spans.append((len(text), len(text) + len(name), slot[1]))
            text, at = text + name, slot.end()
        rest = self._between(rng, template[at:])
        return text + (rest[1:] if text.endswith(".") and rest.startswith(".") else rest), spans


def free_sentences() -> list[Marked]:
    """The sentences written freely, their brackets taken for spans."""
    found: list[Marked] = []
    for sentence in DATA["free"]["sentences"]:
        text, spans, at = "", [], 0
        for mark in BRACKETS.finditer(sentence):
            text += sentence[at : mark.start()]
            spans.append((len(text), len(text) + len(mark[2]), mark[1]))
            text, at = text + mark[2], mark.end()
        found.append((text + sentence[at:], spans))
    return found


SEEN = NameWriter(DATA["templates"]["sentences"], DATA["templates"]["plain"], 0, invents=True)
UNSEEN = NameWriter(DATA["unseen_templates"]["sentences"], [], 1, invents=False)
