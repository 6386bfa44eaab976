"""Builds conversations from the skills, for training and held out for evaluation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from models.recipes.chat.arithmetic import arithmetic_skills
from models.recipes.chat.dates import date_skills
from models.recipes.chat.exchanges import Exchange, Skill, normalized
from models.recipes.chat.facts import fact_skills
from models.recipes.chat.memory import colour_memory, name_memory, untold
from models.recipes.chat.smalltalk import small_talk_skill
from models.recipes.chat.topics import topic_skills
from models.recipes.chat.unknowns import unknown_skill

Message = dict[str, str]

SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are Senso, a small helpful model.", "Answer briefly and honestly.",
    "You are a friendly assistant.", "Be kind and clear.", "You are the chat model of sensorium.",
)  # fmt: skip
MOST_EXCHANGES = (1, 1, 1, 2, 2, 3, 4, 5)


@dataclass(frozen=True)
class HeldOut:
    """A conversation up to the user's last message, and the answer it should get."""

    skill: str
    messages: list[Message]
    expected: str


def all_skills() -> list[Skill]:
    """All skills that need only one exchange."""
    return [
        *topic_skills(9.0), small_talk_skill(3.2), unknown_skill(2.8), *arithmetic_skills(), *date_skills(),
        *fact_skills(),
    ]  # fmt: skip


def as_messages(exchanges: list[Exchange]) -> list[Message]:
    """The exchanges as messages of a chat."""
    found: list[Message] = []
    for exchange in exchanges:
        found.append({"role": "user", "content": exchange.user})
        found.append({"role": "assistant", "content": exchange.assistant})
    return found


def remembered(rng: random.Random, fillers: list[Exchange], held_out: bool = False) -> list[Exchange]:
    """Puts what the user tells before the filler exchanges, and the question about it after them."""
    memory = (name_memory if rng.random() < 0.8 else colour_memory)(rng, held_out)
    return [memory.told, *fillers, memory.asked]


class Corpus:
    """Draws conversations from the skills, never with a reserved question. Deterministic for a seed."""

    def __init__(self, seed: int, reserved: frozenset[str] = frozenset(), memory_share: float = 0.19) -> None:
        self._memory_share = memory_share
        self._reserved = reserved
        self._rng = random.Random(seed)
        self._skills = all_skills()
        self._weights = [skill.weight for skill in self._skills]
        self.asked: set[str] = set()

    def skills(self, count: int) -> list[Skill]:
        """Draws `count` skills, in proportion to their weights."""
        return self._rng.choices(self._skills, self._weights, k=count)

    def exchanges(self, count: int) -> list[Exchange]:
        """So many exchanges of any skills."""
        return [skill.train(self._rng) for skill in self.skills(count)]

    def _drawn(self) -> list[Exchange]:
        """The exchanges of one conversation, sometimes with something to remember."""
        rng, kind = self._rng, self._rng.random()
        if kind < self._memory_share:
            before = self.exchanges(1) if rng.random() < 0.15 else []
            return [*before, *remembered(rng, self.exchanges(rng.choice((0, 0, 1, 1, 1, 2, 3))))]
        if kind < self._memory_share + 0.04:
            return [*self.exchanges(rng.choice((0, 0, 1, 2))), untold(rng, False)]
        return self.exchanges(rng.choice(MOST_EXCHANGES))

    def conversation(self) -> list[Message]:
        """One conversation for training; sometimes with a system message first."""
        exchanges = self._drawn()
        while self._reserved & {normalized(exchange.user) for exchange in exchanges}:
            exchanges = self._drawn()
        self.asked.update(normalized(exchange.user) for exchange in exchanges)
        messages = as_messages(exchanges)
        if self._rng.random() < 0.12:
            messages.insert(0, {"role": "system", "content": self._rng.choice(SYSTEM_PROMPTS)})
        return messages

    def conversations(self, count: int) -> Iterator[list[Message]]:
        """So many conversations for training."""
        return (self.conversation() for _ in range(count))


def held_out_set(seed: int, per_skill: int) -> list[HeldOut]:
    """The held-out conversations: single questions of every skill, memories, and follow-ups behind other exchanges."""
    rng, corpus, found = random.Random(seed), Corpus(seed), []
    for skill in all_skills():
        count = per_skill * 2 if skill.name.startswith("topics") else per_skill
        seen: set[str] = set()
        for _ in range(count * 40):
            exchange = skill.held_out(rng)
            if len(seen) < count and normalized(exchange.user) not in seen:
                seen.add(normalized(exchange.user))
                found.append(to_held_out(skill.name, [exchange]))
    for _ in range(per_skill):
        found.append(to_held_out("memory", remembered(rng, corpus.exchanges(rng.randrange(3)), held_out=True)))
        found.append(to_held_out("nothing to remember", [*corpus.exchanges(rng.randrange(2)), untold(rng, True)]))
        (skill,) = corpus.skills(1)
        found.append(to_held_out("follow-up", [*corpus.exchanges(rng.randrange(1, 4)), skill.held_out(rng)]))
    return found


def reserved_questions(prompts: list[HeldOut]) -> frozenset[str]:
    """The normalized held-out questions. Memories are excluded: they differ by what was told, not by the question."""
    return frozenset(normalized(p.messages[-1]["content"]) for p in prompts if p.skill != "memory")


def leaked(prompts: list[HeldOut], corpus: Corpus) -> list[str]:
    """Held-out questions that occur in the corpus nevertheless."""
    return sorted(reserved_questions(prompts) & corpus.asked)


def to_held_out(name: str, exchanges: list[Exchange]) -> HeldOut:
    """Makes a held-out item: the last exchange is the question, everything before it the history."""
    return HeldOut(name, as_messages(exchanges)[:-1], exchanges[-1].assistant)
