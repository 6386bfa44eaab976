"""What is written on pages: names, dates, numbers and amounts; names of the held-out pages are none of training's."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from pathlib import Path

from models.recipes.chat.dates import MONTHS
from models.recipes.chat.vocabulary import NAMES, invented_word
from models.recipes.text.words import phrases, read_data, split

DATA = tomllib.loads(Path(__file__).with_name("fields.toml").read_text(encoding="utf-8"))
NAMED = read_data("entities")["lists"]
INVENTED = 0.25
"""How often training writes a name that nobody has."""


def parts(text: str) -> list[str]:
    """The parts of a list separated by bars."""
    return [part.strip() for part in text.split("|")]


LISTS = {name: parts(text) for name, text in DATA["lists"].items()}


class Values:
    """Writes values, of training's names or of those held out."""

    def __init__(self, held_out: bool) -> None:
        self._held_out = held_out
        self._first, self._last, self._places, self._firms, self._streets, self._jobs, self._subjects, self._goods = (
            split(words)[held_out]
            for words in (
                NAMES, phrases(NAMED["surnames"]), phrases(NAMED["places"]), phrases(NAMED["firms"]),
                LISTS["streets"], LISTS["jobs"], LISTS["subjects"], LISTS["goods"],
            )
        )  # fmt: skip

    def write(self, rng: random.Random, kind: str) -> str:
        """A value of that kind."""
        writer: Callable[[random.Random], str] = getattr(self, kind)
        return writer(rng)

    def _word(self, rng: random.Random, words: list[str]) -> str:
        return invented_word(rng).capitalize() if not self._held_out and rng.random() < INVENTED else rng.choice(words)

    def person(self, rng: random.Random) -> str:
        """First and last name, at times with a letter between or a title."""
        first, last = self._word(rng, self._first), self._word(rng, self._last)
        middle, title = rng.choice("ABCDEFGHJKLMNPRST"), rng.choice(("Mr", "Ms", "Dr."))
        return rng.choice(
            (*[f"{first} {last}"] * 4, f"{first} {middle}. {last}", f"{title} {first} {last}", f"{title} {last}")
        )

    def date(self, rng: random.Random) -> str:
        """A day in one of the ways people write it."""
        year, month, day = rng.randrange(1940, 2035), rng.randrange(12), rng.randrange(1, 29)
        return rng.choice((
            f"{day} {MONTHS[month]} {year}", f"{MONTHS[month]} {day}, {year}", f"{year}-{1 + month:02}-{day:02}",
            f"{day:02}/{1 + month:02}/{year}", f"{day}.{1 + month}.{year}",
        ))  # fmt: skip

    def number(self, rng: random.Random) -> str:
        """A reference: digits, perhaps with letters."""
        digits = str(rng.randrange(100, 10 ** rng.randrange(4, 8)))
        letters = "".join(rng.choices("ABCDEFGHKLMNPRSTUVX", k=rng.randrange(1, 4)))
        return rng.choice((digits, f"{letters}-{digits}", f"{letters}{digits}", f"{digits}/{rng.randrange(10, 40)}"))

    def phone(self, rng: random.Random) -> str:
        """A telephone number."""
        a, b, c = rng.randrange(10, 1000), rng.randrange(100, 1000), rng.randrange(1000, 10000)
        return rng.choice((f"0{a} {b}{c}", f"+{a % 90 + 10} {a} {c}", f"{b}-{c}", f"0{a}-{b}{c}", f"{b} {c}"))

    def mail(self, rng: random.Random) -> str:
        """An address of electronic mail."""
        first, last = self._word(rng, self._first).lower(), self._word(rng, self._last).lower().replace(" ", "")
        person = rng.choice((first, f"{first}.{last}", last))
        return f"{person}@{rng.choice(('example', 'mail', 'post', last))}.{rng.choice(('com', 'org', 'net'))}"

    def place(self, rng: random.Random) -> str:
        """A town."""
        return self._word(rng, self._places)

    def street(self, rng: random.Random) -> str:
        """A street and a number."""
        name, way, number = self._word(rng, self._streets), rng.choice(LISTS["ways"]), rng.randrange(1, 200)
        return rng.choice((f"{number} {name} {way}", f"{name} {way} {number}"))

    def firm(self, rng: random.Random) -> str:
        """A company."""
        name = self._word(rng, [*self._firms, *self._last])
        return f"{name} {rng.choice(('Ltd', 'Inc.', 'Company', 'and Sons', 'Works', 'Foods', 'Trading', 'Group'))}"

    def good(self, rng: random.Random) -> str:
        """Something sold; in training half of the time a word nobody knows, to be compared, not known."""
        if self._held_out or rng.random() < 0.5:
            return rng.choice(self._goods)
        return " ".join(invented_word(rng).lower() for _ in range(rng.choice((1, 1, 2))))

    def job(self, rng: random.Random) -> str:
        """What somebody does."""
        return rng.choice(self._jobs)

    def money(self, rng: random.Random) -> str:
        """An amount."""
        amount = f"{rng.randrange(1, 10 ** rng.randrange(1, 5))}.{rng.randrange(100):02}"
        return rng.choice((amount, f"${amount}", f"{amount} EUR", f"EUR {amount}"))

    def payment(self, rng: random.Random) -> str:
        """A way to pay."""
        return rng.choice(LISTS["payments"])

    def time(self, rng: random.Random) -> str:
        """A time of day."""
        hour, minute = rng.randrange(24), rng.randrange(60)
        return rng.choice((f"{hour:02}:{minute:02}", f"{hour % 12 + 1}:{minute:02} {rng.choice(('am', 'pm'))}"))

    def subject(self, rng: random.Random) -> str:
        """What a letter is about."""
        return rng.choice(self._subjects)
