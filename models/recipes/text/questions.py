"""Questions about the topics of the chat model, and the written answers they ask for."""

from __future__ import annotations

import random
import re

from models.recipes.chat.exchanges import normalized
from models.recipes.chat.topics import (
    EXPLAIN,
    EXPLAIN_HELD_OUT,
    TELL,
    TELL_HELD_OUT,
    Topic,
    load_topics,
    phrase,
)
from models.recipes.chat.typing_habits import as_typed, with_slip
from models.recipes.text.recipe import Item

TOPICS = load_topics()
SENTENCES = [re.split(r"(?<=[.?!]) ", topic.answer) for topic in TOPICS]
UNSEEN = {normalized(topic.questions[-1]) for topic in TOPICS}
SUBJECTS = [" ".join(name for name in topic.names) for topic in TOPICS]
Question = tuple[str, int]
Pair = tuple[str, str]


def asked(rng: random.Random, topic: Topic) -> str:
    """A question for the topic: one of those written for it, a template with one of its names, or the bare name."""
    if rng.random() < 0.35:
        return rng.choice(topic.questions[:-1])
    return phrase(rng.choice(TELL if topic.is_told else EXPLAIN), rng.choice(topic.names))


def draw_question(rng: random.Random) -> Question:
    """A training question, or a sentence of the answer itself, and the place of its topic."""
    at = rng.randrange(len(TOPICS))
    if rng.random() < 0.3:
        return rng.choice(SENTENCES[at]), at
    text = asked(rng, TOPICS[at])
    while normalized(text) in UNSEEN:
        text = asked(rng, TOPICS[at])
    text = as_typed(rng, text)
    return (with_slip(rng, text) if rng.random() < 0.05 else text), at


def thinned(rng: random.Random, text: str) -> str:
    """The text, at times without some of its words: every word should tell, not the whole alone."""
    words = text.split()
    if len(words) < 4 or rng.random() < 0.5:
        return text
    return " ".join(word for word in words if rng.random() > 0.2) or text


def passage(rng: random.Random, at: int, share_whole: float) -> str:
    """The answer of a topic as a document, or some of its sentences in a row."""
    sentences = SENTENCES[at]
    if rng.random() < share_whole:
        return TOPICS[at].answer
    first = rng.randrange(len(sentences))
    return " ".join(sentences[first : first + rng.choice((1, 2))])


def pairs_of_topics(rng: random.Random, count: int) -> list[Pair]:
    """Questions for different topics, each with a passage of its topic's answer."""
    found: dict[int, Pair] = {}
    while len(found) < count:
        text, at = draw_question(rng)
        if at not in found:
            found[at] = thinned(rng, text), passage(rng, at, 0.3)
    return list(found.values())


def unseen_questions(rng: random.Random, per_part: int) -> list[Item]:
    """Held-out questions of two kinds, each with the name of its topic."""
    items: list[Item] = []
    for topic in rng.sample(TOPICS, per_part):
        template = rng.choice(TELL_HELD_OUT if topic.is_told else EXPLAIN_HELD_OUT)
        items.append(["unseen template", phrase(template, rng.choice(topic.names)), topic.names[0]])
    items += [["unseen question", topic.questions[-1], topic.names[0]] for topic in rng.sample(TOPICS, per_part)]
    return items


def documents() -> list[Item]:
    """The answers of all topics by name, as items of their own."""
    return [["document", topic.names[0], topic.answer] for topic in TOPICS]


def corpus(rng: random.Random, count: int) -> list[str]:
    """Text to learn a tokenizer from."""
    return [draw_question(rng)[0] for _ in range(count)] + [topic.answer for topic in TOPICS] * 3
