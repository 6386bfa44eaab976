"""Facts learnt by heart: capitals, animals, colours, opposites. Held out are ways to ask."""

from __future__ import annotations

import random

from models.recipes.chat.exchanges import Exchange, Skill, split_last
from models.recipes.chat.tables import table_skill
from models.recipes.chat.typing_habits import as_typed
from models.recipes.chat.vocabulary import OPPOSITES

CAPITAL_OF = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Switzerland": "Bern", "Belgium": "Brussels", "the Netherlands": "Amsterdam",
    "Denmark": "Copenhagen", "Sweden": "Stockholm", "Norway": "Oslo", "Finland": "Helsinki", "Poland": "Warsaw",
    "Hungary": "Budapest", "Greece": "Athens", "Ireland": "Dublin", "Iceland": "Reykjavik", "Romania": "Bucharest",
    "Bulgaria": "Sofia", "Croatia": "Zagreb", "Serbia": "Belgrade", "Ukraine": "Kyiv", "Turkey": "Ankara",
    "Egypt": "Cairo", "Morocco": "Rabat", "Kenya": "Nairobi", "Nigeria": "Abuja", "Ghana": "Accra",
    "Ethiopia": "Addis Ababa", "Tunisia": "Tunis", "Senegal": "Dakar", "Japan": "Tokyo", "China": "Beijing",
    "South Korea": "Seoul", "India": "New Delhi", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Indonesia": "Jakarta",
    "Nepal": "Kathmandu", "Mongolia": "Ulaanbaatar", "the Philippines": "Manila", "Iran": "Tehran", "Iraq": "Baghdad",
    "Jordan": "Amman", "Lebanon": "Beirut", "Canada": "Ottawa", "the United States": "Washington",
    "Mexico": "Mexico City", "Cuba": "Havana", "Brazil": "Brasilia", "Argentina": "Buenos Aires", "Chile": "Santiago",
    "Peru": "Lima", "Colombia": "Bogota", "Venezuela": "Caracas", "Uruguay": "Montevideo", "Ecuador": "Quito",
    "Australia": "Canberra", "New Zealand": "Wellington", "the United Kingdom": "London", "England": "London",
    "Scotland": "Edinburgh", "Wales": "Cardiff", "Estonia": "Tallinn", "Latvia": "Riga", "Lithuania": "Vilnius",
    "Slovenia": "Ljubljana", "Slovakia": "Bratislava", "Luxembourg": "Luxembourg",
}  # fmt: skip
YOUNG = {
    "dog": "puppy", "cat": "kitten", "cow": "calf", "horse": "foal", "sheep": "lamb", "pig": "piglet", "hen": "chick",
    "duck": "duckling", "goose": "gosling", "goat": "kid", "bear": "cub", "lion": "cub", "deer": "fawn",
    "frog": "tadpole", "kangaroo": "joey", "swan": "cygnet", "fox": "cub", "seal": "pup", "butterfly": "caterpillar",
    "owl": "owlet",
}  # fmt: skip
SOUND = {
    "dog": "barks", "cat": "meows", "cow": "moos", "horse": "neighs", "sheep": "bleats", "pig": "grunts",
    "duck": "quacks", "rooster": "crows", "lion": "roars", "wolf": "howls", "snake": "hisses", "bee": "buzzes",
    "frog": "croaks", "owl": "hoots", "mouse": "squeaks", "donkey": "brays", "goose": "honks", "bird": "sings",
    "elephant": "trumpets",
}  # fmt: skip
LEGS = {
    "dog": 4, "cat": 4, "horse": 4, "cow": 4, "sheep": 4, "elephant": 4, "frog": 4, "mouse": 4, "bird": 2, "duck": 2,
    "hen": 2, "spider": 8, "ant": 6, "bee": 6, "butterfly": 6, "beetle": 6, "snake": 0, "fish": 0, "worm": 0,
    "crab": 10,
    "person": 2, "lion": 4, "tiger": 4,
}  # fmt: skip
COLOUR = {
    "the sky": "blue", "grass": "green", "snow": "white", "blood": "red", "coal": "black", "a lemon": "yellow",
    "a banana": "yellow", "a tomato": "red", "a frog": "green", "a carrot": "orange", "milk": "white",
    "the sea": "blue",
    "the sun": "yellow", "a strawberry": "red", "chocolate": "brown", "a leaf": "green", "an elephant": "grey",
    "a raven": "black", "a flamingo": "pink", "a swan": "white", "a plum": "purple", "a cucumber": "green",
    "a cherry": "red", "a pumpkin": "orange", "the night": "black", "sand": "yellow", "a polar bear": "white",
    "a fire engine": "red", "lavender": "purple", "gold": "yellow",
}  # fmt: skip

CAPITALS = (
    "What is the capital of {w}?", "Capital of {w}", "What's the capital of {w}?", "Tell me the capital of {w}.",
    "Which city is the capital of {w}?", "Name the capital of {w}.", "Do you know the capital of {w}?",
    "the capital of {w}?", "What is the capital city of {w}?", "{w}: what is the capital?",
    "What city is the capital of {w}?", "I need the capital of {w}.", "Could you tell me the capital of {w}?",
    "Which is the capital of {w}?", "Can you name the capital of {w}?",
)  # fmt: skip
YOUNGS = (
    "What is a young {w} called?", "What do you call a baby {w}?", "What is a baby {w} called?", "Name of a young {w}",
    "How is a young {w} called?", "What do you call a young {w}?", "Which word is used for a baby {w}?",
)  # fmt: skip
SOUNDS = (
    "What sound does a {w} make?", "What does a {w} say?", "How does a {w} sound?", "What noise does a {w} make?",
    "Which sound does a {w} make?", "Tell me the sound of a {w}.", "What is the sound of a {w}?",
    "Do you know what sound a {w} makes?",
)  # fmt: skip
LEGGED = (
    "How many legs does a {w} have?", "How many legs has a {w}?", "Number of legs of a {w}", "legs of a {w}?",
    "How many legs are there on a {w}?", "Tell me how many legs a {w} has.", "Do you know how many legs a {w} has?",
)  # fmt: skip
COLOURS = (
    "What colour is {w}?", "What color is {w}?", "Which colour is {w}?", "What is the colour of {w}?", "Colour of {w}",
    "Tell me the colour of {w}.", "Which color does {w} have?", "What is the color of {w}?",
    "Do you know the colour of {w}?",
    "What colour does {w} have?",
)  # fmt: skip
OPPOSITE = (
    "What is the opposite of {w}?", "Opposite of {w}", "Give me the opposite of {w}.", "Say the opposite of {w}.",
    "Tell me the opposite of {w}.", 'What is the opposite of "{w}"?', "Which word means the opposite of {w}?",
    "the opposite of {w}?", "Name the opposite of {w}.", "Find the opposite of {w}.", "I need the opposite of {w}.",
    "Can you name the opposite of {w}?", "What is the opposite word of {w}?", "Which word is the opposite of {w}?",
    "Can you tell me the opposite of {w}?", "What could be the opposite of {w}?", "{w}: what is the opposite?",
    "Do you remember the opposite of {w}?", "What do you call the opposite of {w}?", "And the opposite of {w}?",
    "What would you call the opposite of {w}?", "Could you tell me the opposite of {w}?",
    "What would be the opposite of {w}?", "Do you know the opposite of {w}?",
)  # fmt: skip


def with_article(noun: str) -> str:
    """The noun with a or an in front, as a sentence starts."""
    return f"{'An' if noun[0] in 'aeiou' else 'A'} {noun}"


def animal_skill(weight: float) -> Skill:
    """Young, sounds and legs of animals."""
    tables = (
        (YOUNGS, {a: f"A young {a} is called {with_article(y).lower()}." for a, y in YOUNG.items()}),
        (SOUNDS, {a: f"{with_article(a)} {s}." for a, s in SOUND.items()}),
        (LEGGED, {a: f"{with_article(a)} has {n or 'no'} legs." for a, n in LEGS.items()}),
    )

    def draw_part(rng: random.Random, held_out: bool) -> Exchange:
        phrasings, table = rng.choice(tables)
        animal = rng.choice(list(table))
        user = rng.choice(split_last(phrasings)[1 if held_out else 0]).format(w=animal)
        if animal[0] in "aeiou":
            user = user.replace(f" a {animal}", f" an {animal}")
        return Exchange(user if held_out else as_typed(rng, user), table[animal])

    return Skill("animals", weight, lambda rng: draw_part(rng, False), lambda rng: draw_part(rng, True))


def fact_skills() -> list[Skill]:
    """All skills learnt by heart."""
    capitals = {c: f"The capital of {c} is {city}." for c, city in CAPITAL_OF.items()}
    colours = {t: f"{t[0].upper() + t[1:]} is {colour}." for t, colour in COLOUR.items()}
    both = OPPOSITES | {b: a for a, b in OPPOSITES.items()}
    opposites = {a: f"The opposite of {a} is {b}." for a, b in both.items()}
    return [
        table_skill("capitals", 1.2, CAPITALS, capitals),
        animal_skill(0.9),
        table_skill("colours", 0.7, COLOURS, colours),
        table_skill("opposites", 1.5, OPPOSITE, opposites),
    ]
