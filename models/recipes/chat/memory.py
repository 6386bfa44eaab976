"""What a user tells and asks for later: a name, a favourite colour. These need a conversation, not one exchange."""

from __future__ import annotations

import random
from dataclasses import dataclass

from models.recipes.chat.exchanges import Exchange, draw_where, split_last
from models.recipes.chat.typing_habits import as_typed
from models.recipes.chat.vocabulary import COLOURS, NAMES, invented_word

TELL_NAME = (
    "My name is {n}.", "I am {n}.", "I'm {n}.", "Call me {n}.", "You can call me {n}.", "Hi, I am {n}.",
    "{n} is my name.",
    "Hello, my name is {n}.", "Hi, my name is {n}.", "Hello! I'm {n}.", "Hi there, I am {n}.", "The name is {n}.",
    "Please call me {n}.", "Hey, this is {n}.", "Hello Senso, I am {n}.", "People call me {n}.",
    "Good morning, my name is {n}.",
    "Nice to meet you, I am {n}.",
)  # fmt: skip
ASK_NAME = (
    "What is my name?", "Do you remember my name?", "Who am I?", "What's my name?", "Can you tell me my name?",
    "Do you know my name?", "Do you know who I am?", "What am I called?", "Tell me my name.", "What was my name?",
    "Say my name.", "Remember my name?", "Did I tell you my name?", "Do you still know my name?",
    "What was my name again?",
    "Can you remember what I am called?",
)  # fmt: skip
TELL_COLOUR = (
    "My favourite colour is {c}.", "My favorite color is {c}.", "I like {c} best.", "I love the colour {c}.",
    "The colour I like most is {c}.", "{c} is my favourite colour.", "My favourite color is {c}.",
    "I like the colour {c} most.",
)  # fmt: skip
ASK_COLOUR = (
    "What is my favourite colour?", "What is my favorite color?", "Which colour do I like?",
    "What colour do I like best?",
    "Do you remember my favourite colour?", "Which colour do I like most?", "Do you know my favorite color?",
    "Tell me my favourite colour.", "What was my favourite colour?", "Do you still know my favourite colour?",
)  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """Something told, and the later question for it."""

    told: Exchange
    asked: Exchange


def a_name(rng: random.Random) -> str:
    """A first name; now and then an invented one."""
    return rng.choice(NAMES) if rng.random() < 0.6 else invented_word(rng).capitalize()


def a_listed_name(rng: random.Random) -> str:
    """A first name of the list."""
    return rng.choice(NAMES)


def name_memory(rng: random.Random, held_out: bool) -> Memory:
    """The user's name; held out are names."""
    name = draw_where(rng, a_listed_name if held_out else a_name, held_out)
    part = 1 if held_out and rng.random() < 0.5 else 0
    tell = rng.choice(split_last(TELL_NAME)[part]).format(n=name)
    ask = rng.choice(split_last(ASK_NAME)[part])
    if not held_out:
        tell = tell.rstrip(".") if rng.random() < 0.3 else tell
        tell = tell.replace("My", "my").replace("I am", "i am") if rng.random() < 0.15 else tell
        ask = as_typed(rng, ask)
    return Memory(Exchange(tell, f"Nice to meet you, {name}."), Exchange(ask, f"Your name is {name}."))


def colour_memory(rng: random.Random, held_out: bool) -> Memory:
    """The user's favourite colour; held out are ways to say and to ask."""
    colour = rng.choice(COLOURS)
    part = 1 if held_out else 0
    tell = rng.choice(split_last(TELL_COLOUR)[part]).format(c=colour)
    ask = rng.choice(split_last(ASK_COLOUR)[part])
    if not held_out:
        tell, ask = as_typed(rng, tell), as_typed(rng, ask)
    return Memory(
        Exchange(tell, f"I will remember that you like {colour} best."),
        Exchange(ask, f"Your favourite colour is {colour}."),
    )


def untold(rng: random.Random, held_out: bool) -> Exchange:
    """A question for something the user never told."""
    part = 1 if held_out else 0
    if rng.random() < 0.6:
        user, answer = rng.choice(split_last(ASK_NAME)[part]), "You have not told me your name yet."
    else:
        user, answer = rng.choice(split_last(ASK_COLOUR)[part]), "You have not told me your favourite colour yet."
    return Exchange(user if held_out else as_typed(rng, user), answer)
