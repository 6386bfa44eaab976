"""Short passages of plain facts, and questions that one of the facts answers, or none."""

from __future__ import annotations

import random
from dataclasses import dataclass

from models.recipes.chat.dates import DAYS, MONTHS
from models.recipes.chat.vocabulary import NAMES, invented_word
from models.recipes.text.disguise import disguised
from models.recipes.text.words import phrases, read_data, sentence, split

DATA = read_data("passages")
NAMED = read_data("entities")["lists"]
SLOTS = {name: phrases(words) for name, words in DATA["slots"].items()}
FIRM_ENDS = [end for end in phrases(NAMED["firm_ends"]) if "." not in end]


@dataclass(frozen=True)
class Asked:
    """A passage, a question, and the answer with its first character in the passage; None and -1 where it has none."""

    passage: str
    question: str
    answer: str | None
    start: int


class PassageWriter:
    """Writes passages with the names and sentences of training, or with those held out."""

    def __init__(self, new_names: bool, new_phrasings: bool) -> None:
        self._new_names, self._new_phrasings = new_names, new_phrasings
        part = int(new_names)
        self._first, self._last, self._places, self._firms, self._goods, self._jobs = (
            split(words)[part]
            for words in (
                NAMES, phrases(NAMED["surnames"]), phrases(NAMED["places"]), phrases(NAMED["firms"]), SLOTS["goods"],
                SLOTS["job"],
            )
        )  # fmt: skip

    def _word(self, rng: random.Random, words: list[str], invented: float) -> str:
        """A word of the list, or an invented one: answers must be found by their place, not known."""
        return invented_word(rng).capitalize() if rng.random() < invented else rng.choice(words)

    def _filler(self, rng: random.Random, kind: str) -> str:
        if kind == "person":
            first = self._word(rng, self._first, 0.3)
            return first if rng.random() < 0.3 else f"{first} {self._word(rng, self._last, 0.5)}"
        if kind == "place":
            return self._word(rng, self._places, 0.4)
        if kind == "firm":
            name = self._word(rng, self._firms, 0.6)
            return name if rng.random() < 0.4 else f"{name} {rng.choice(FIRM_ENDS)}"
        if kind == "event":
            return f"the {rng.choice(SLOTS['themes'])} {rng.choice(SLOTS['events'])}"
        if kind == "thing":
            return f"the {rng.choice(SLOTS['qualities'])} {rng.choice(SLOTS['things'])}"
        return self._value(rng, kind)

    def _value(self, rng: random.Random, kind: str) -> str:
        if kind == "year":
            return str(rng.randrange(1800, 2030))
        if kind == "count":
            return str(
                rng.choice(
                    (rng.randrange(3, 100), rng.randrange(100, 1000), f"{rng.randrange(1, 90)},{rng.randrange(10)}00")
                )
            )
        if kind == "price":
            return f"{rng.randrange(2, 900)} {rng.choice(('euros', 'dollars', 'pounds', 'francs'))}"
        if kind == "day":
            return rng.choice((f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}", rng.choice(DAYS)))
        return rng.choice({"goods": self._goods, "job": self._jobs, "colour": SLOTS["colour"]}[kind])

    def _phrasing(self, rng: random.Random, phrasings: list[str]) -> str:
        return phrasings[-1] if self._new_phrasings else rng.choice(phrasings[:-1])

    def write(self, rng: random.Random, answerable: float = 0.7, two_subjects: float = 0.2) -> Asked:
        """Two to five facts about one subject, at times about two, in any order; and a question about one of them."""
        kind = rng.choice(("person", "firm", "event", "thing"))
        relations = [relation for relation in DATA["relation"] if relation["subject"] == kind]
        subjects = [self._filler(rng, kind)]
        if rng.random() < two_subjects:
            subjects.append(self._filler(rng, kind))
        possible = [(subject, relation) for subject in dict.fromkeys(subjects) for relation in relations]
        told = rng.sample(possible, rng.randrange(2, min(6, len(possible))))
        facts = [self._fact(rng, subject, relation) for subject, relation in told]
        if rng.random() < 0.3:
            place = rng.randrange(len(facts) + 1)
            facts.insert(place, (rng.choice(DATA["plain"]["sentences"]), "", 0))
            told.insert(place, ("", {}))
        passage = " ".join(text for text, _, _ in facts)
        asks = rng.random() < answerable
        chosen = [pair for pair in told if pair[0]] if asks else [pair for pair in possible if pair not in told]
        subject, relation = rng.choice(chosen)
        question = sentence(self._phrasing(rng, relation["questions"]).format(s=subject))
        if not asks:
            return Asked(passage, question, None, -1)
        place = told.index((subject, relation))
        start = sum(len(text) + 1 for text, _, _ in facts[:place]) + facts[place][2]
        return Asked(passage, question, passage[start : start + len(facts[place][1])], start)

    def _fact(self, rng: random.Random, subject: str, relation: dict) -> tuple[str, str, int]:
        """A sentence, the answer in it, and where the answer starts."""
        filler = self._filler(rng, relation["object"])
        template = self._phrasing(rng, relation["sentences"])
        if not self._new_names and rng.random() < 0.5:
            template = disguised(rng, template, invented_only=True)
        before = template.split("{o}")[0].format(s=subject)
        text = template.format(s=subject, o=filler)
        return text[0].upper() + text[1:], filler, len(before)


def free_questions() -> list[Asked]:
    """The questions written freely."""
    return [
        Asked(passage, question, answer or None, passage.index(answer) if answer else -1)
        for passage, question, answer in DATA["free"]["items"]
    ]


SEEN, NAMED_ANEW = PassageWriter(False, new_phrasings=False), PassageWriter(True, new_phrasings=False)
UNSEEN = PassageWriter(True, new_phrasings=True)
