"""Facts that a user tells and asks for later: name, favourite colour. These need several exchanges."""

from __future__ import annotations

import random
from dataclasses import dataclass

from models.recipes.chat.exchanges import Exchange, split_last
from models.recipes.chat.typing_habits import as_typed
from models.recipes.chat.vocabulary import COLOURS, NAMES, invented_word

TELL_NAME = (
    "My name is {n}.", "I am {n}.", "I'm {n}.", "Call me {n}.", "You can call me {n}.", "Hi, I am {n}.",
    "my name's {n}",
    "Hello, my name is {n}.", "Hi, my name is {n}.", "Hello! I'm {n}.", "Hi there, I am {n}.", "The name is {n}.",
    "Please call me {n}.", "Hey, this is {n}.", "Hello Senso, I am {n}.", "Hello! My name is {n}.",
    "Hi! My name is {n}.",
    "Hi! I am {n}.", "Good evening, I am {n}.", "Hey, my name is {n}.", "I am called {n}.", "Hello, this is {n}.",
    "My friends call me {n}.", "It is me, {n}.", "Good day, my name is {n}.", "My name is {n}, nice to meet you.",
    "I am {n}, hello.", "Hi Senso! My name is {n}.", "Remember that my name is {n}.",
    "Let me introduce myself: I am {n}.",
    "Good morning, my name is {n}.", "People call me {n}.", "Nice to meet you, I am {n}.",
)  # fmt: skip
ASK_NAME = (
    "What is my name?", "Do you remember my name?", "Who am I?", "What's my name?", "Can you tell me my name?",
    "Do you know my name?", "Do you know who I am?", "What am I called?", "Tell me my name.", "What was my name?",
    "Say my name.", "Remember my name?", "Did I tell you my name?", "So what is my name?", "And what is my name?",
    "Tell me who I am.", "Which name did I tell you?", "Have you forgotten my name?", "my name?",
    "Is my name known to you?",
    "Could you say my name?", "What is my name again?", "Can you remember my name?", "Do you remember who I am?",
    "What name do I have?", "How am I called?", "Please tell me my name.", "Now, what is my name?",
    "Do you still know my name?", "What was my name again?", "Can you remember what I am called?",
)  # fmt: skip
TELL_COLOUR = (
    "My favourite colour is {c}.", "My favorite color is {c}.", "I like {c} best.", "I love the colour {c}.",
    "The colour I like most is {c}.", "I like {c} most.", "The colour {c} is my favourite.", "I love {c}.",
    "My favourite is the colour {c}.", "I like the color {c} best.", "Of all colours I like {c} most.",
    "The color I like best is {c}.", "I like the colour {c} most.",
)  # fmt: skip
ASK_COLOUR = (
    "What is my favourite colour?", "What is my favorite color?", "Which colour do I like?",
    "What colour do I like best?", "Do you remember my favourite colour?", "Which colour do I like most?",
    "Do you know my favorite color?", "What's my favourite colour?", "Which color do I like best?",
    "my favourite colour?",
    "Can you tell me my favourite colour?", "Which colour is my favourite?", "Do you know which colour I like?",
    "What was my favorite color?", "Do you still know which colour I like best?",
    "Tell me my favourite colour.", "What was my favourite colour?", "Do you still know my favourite colour?",
)  # fmt: skip

CONFUSED = ("Ada", "Alex", "Bella", "Nico")
"""Names that the model confused when all were equally frequent; these are drawn more often."""


@dataclass(frozen=True)
class Memory:
    """Something told, and the later question for it."""

    told: Exchange
    asked: Exchange


def a_name(rng: random.Random) -> str:
    """A first name from the list; in training sometimes an invented one, so that the model learns to copy."""
    kind = rng.random()
    if kind < 0.08:
        return invented_word(rng).capitalize()
    return rng.choice(CONFUSED if kind < 0.2 else NAMES)


def name_memory(rng: random.Random, held_out: bool) -> Memory:
    """The user's name. Held out are ways to say it, and in half of the cases ways to ask for it."""
    name = rng.choice(NAMES) if held_out else a_name(rng)
    tell = rng.choice(split_last(TELL_NAME, 3)[1 if held_out else 0]).format(n=name)
    ask = rng.choice(split_last(ASK_NAME, 3)[1 if held_out and rng.random() < 0.5 else 0])
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
    ask = rng.choice(split_last(ASK_COLOUR, 3)[part])
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
        user, answer = rng.choice(split_last(ASK_NAME, 3)[part]), "You have not told me your name yet."
    else:
        user, answer = rng.choice(split_last(ASK_COLOUR, 3)[part]), "You have not told me your favourite colour yet."
    return Exchange(user if held_out else as_typed(rng, user), answer)
