"""Questions outside the model's knowledge, which get one honest answer."""

from __future__ import annotations

import random
from pathlib import Path

from models.recipes.chat.exchanges import Exchange, Skill, draw_where, is_held_out
from models.recipes.chat.facts import CAPITALS, COLOURS
from models.recipes.chat.topics import EXPLAIN, EXPLAIN_HELD_OUT, phrase, without_article
from models.recipes.chat.typing_habits import as_typed
from models.recipes.chat.vocabulary import invented_word

ANSWER = "I do not know that. My world is small, and I would rather say so than guess. Ask me what I can do."

SUBJECTS = tuple(
    part.strip() for part in (Path(__file__).parent / "outsiders.txt").read_text(encoding="utf-8").split(",")
)

QUESTIONS = (
    "Who won the {w} in {y}?", "Who invented the {w}?", "Who wrote {w}?", "When was the {w} built?", "How old is {w}?",
    "What is the weather in {w}?", "Where can I buy a {w}?", "How much does a {w} cost?", "What is the price of {w}?",
    "Who is the president of {w}?", "Who is {w}?", "When was {w} born?", "How do I repair a {w}?", "How do I cook {w}?",
    "Write an essay about {w}.", "Translate {w} into French.", "What is {w} in Spanish?", "How far away is {w}?",
    "How tall is {w}?", "How many people live in {w}?", "What happened in {y}?", "What happened in {w} in {y}?",
    "Should I invest in {w}?", "Book a table at {w}.", "Play {w}.", "Send an email to {w}.", "Open {w}.",
    "What language is spoken in {w}?", "Is {w} healthy?", "Why is {w} so popular?", "What time is it in {w}?",
    "Write code for {w}.", "Write a function that sorts {w}.", "Recommend me a book about {w}.", "Can I eat {w}?",
    "What is the best {w}?", "Which {w} should I buy?", "Why did {w} fail?", "When does the {w} start?",
    "Find me a {w} near here.", "What do you think about {w}?", "Is {w} better than {v}?", "Compare {w} with {v}.",
    "Which song is by {w}?", "Who discovered {w}?", "How heavy is {w}?", "How long is the {w}?", "Summarize {w}.",
    "How did {w} die?", "Who directed {w}?", "What does {w} eat?", "Where is {w}?", "How do I get to {w}?",
    "Who founded {w}?", "When did {w} end?",
)  # fmt: skip
BEYOND = (
    "Spell {w}.", "How do you spell {w}?", "Spell the word {w}.", "What are the letters of {w}?", "How is {w} spelled?",
    "Write {w} in capital letters.", "Write {w} in upper case.", "Capitalize {w}.", "Make {w} upper case.",
    "What is the plural of {w}?", "Plural of {w}", "How many letters does {w} have?", "How many letters are in {w}?",
    "What is the first letter of {w}?", "Write {w} backwards.", "What rhymes with {w}?", "Count the letters of {w}.",
    "Count from {a} to {b}.", "Count to {b}.", "Can you count from {a} to {b}?", "Please count to {b}.",
    "List the numbers from {a} to {b}.", "Count backwards from {b}.", "What is {b} divided by {a}?", "{b} / {a}",
    "What is {c} + {d}?", "{c} + {d}", "What is {c} - {d}?", "What is {c} times {d}?", "{c} * {d}",
    "Which is larger, {c} or {d}?", "Please spell {w}.", "Can you spell {w}?", "Put {w} in capital letters.",
    "Give me the plural of {w}.", "Say the alphabet.", "Divide {b} by {a}.",
)  # fmt: skip
PLAIN = (
    "What time is it?", "What day is it today?", "What is the weather today?", "What is today's date?", "Will it rain?",
    "What is the news?", "What is the meaning of life?", "Who will win the election?",
    "What is the square root of two?",
    "Set an alarm.", "Turn on the light.", "What is my age?", "How old am I?", "Where do I live?",
    "What am I thinking?",
    "Give me the winning numbers.", "Write a long novel.", "What is the largest planet?", "Who is the king?",
    "Why is the sky blue?", "How do planes fly?", "What should I eat tonight?", "Which film should I watch?",
    "How do I lose weight?", "What causes headaches?", "How far is the moon?", "How old is the universe?",
    "What is the fastest car?", "What is pi?", "Can you drive a car?", "Call my mother.", "Write a program in C.",
    "How many stars are there?", "Who was the first man on the moon?", "What is the tallest mountain?",
    "What will the weather be tomorrow?", "Who painted the Mona Lisa?", "How deep is the ocean?",
)  # fmt: skip


def a_subject(rng: random.Random) -> str:
    """Something the model knows nothing about."""
    return rng.choice(SUBJECTS)


def an_outsider(rng: random.Random, held_out: bool) -> str:
    """A subject, or in training also a word that does not exist, in small or large letters."""
    if held_out or rng.random() < 0.6:
        return draw_where(rng, a_subject, held_out)
    words = " ".join(draw_where(rng, invented_word, False) for _ in range(rng.choice((1, 1, 2))))
    return rng.choice((words, words.capitalize(), "a " + words, "the " + words))


def beyond(rng: random.Random, word: str, held_out: bool) -> str:
    """A request for letters, counting, division or large numbers, none of which the model has learnt."""
    template = rng.choice([q for q in BEYOND if is_held_out(q) == held_out])
    small, large = sorted((rng.randrange(2, 30), rng.randrange(30, 100)))
    return template.format(w=word, a=small, b=large, c=rng.randrange(100, 10000), d=rng.randrange(100, 10000))


def unknown(rng: random.Random, held_out: bool) -> Exchange:
    """A question nobody taught the model."""
    kind, subject = rng.random(), an_outsider(rng, held_out)
    bare = without_article(subject)
    if kind < 0.18:
        user = beyond(rng, bare, held_out)
    elif kind < 0.55:
        template = rng.choice(EXPLAIN_HELD_OUT if held_out and rng.random() < 0.5 else EXPLAIN)
        user = phrase(template, subject)
    elif kind < 0.85:
        template = rng.choice([q for q in QUESTIONS if is_held_out(q) == held_out])
        other = without_article(an_outsider(rng, held_out))
        user = template.format(w=bare, v=other, y=rng.randrange(1900, 2030))
    elif kind < 0.93:
        user = rng.choice([q for q in PLAIN if is_held_out(q, 6) == held_out])
    else:
        country = draw_where(rng, invented_word, held_out).capitalize()
        user = rng.choice((CAPITALS if rng.random() < 0.7 else COLOURS)[:-2]).format(w=country)
    return Exchange(user if held_out else as_typed(rng, user), ANSWER)


def unknown_skill(weight: float) -> Skill:
    """The skill of saying that one does not know; held out are subjects and questions."""
    return Skill("honest ignorance", weight, lambda rng: unknown(rng, False), lambda rng: unknown(rng, True))
