"""Days of the week and months of the year: so many before or after, counted out."""

from __future__ import annotations

import random

from models.recipes.chat.exchanges import Exchange, Skill, draw_where, split_last
from models.recipes.chat.typing_habits import as_typed

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

DISTANCES = (
    "What {unit} is {n} {units} {side} {start}?", "Which {unit} is {n} {units} {side} {start}?",
    "{n} {units} {side} {start}", "{n} {units} {side} {start}?", "Which {unit} comes {n} {units} {side} {start}?",
    "Tell me the {unit} {n} {units} {side} {start}.", "What comes {n} {units} {side} {start}?",
    "What {unit} will it be {n} {units} {side} {start}?", "Name the {unit} that is {n} {units} {side} {start}.",
    "What is {n} {units} {side} {start}?", "Which {unit} do I get {n} {units} {side} {start}?",
    "Tell me which {unit} is {n} {units} {side} {start}.", "Please count {n} {units} {side} {start}.",
    "Do you know which {unit} comes {n} {units} {side} {start}?", "The {unit} {n} {units} {side} {start}",
    "I want to know the {unit} {n} {units} {side} {start}.", "Could you name the {unit} {n} {units} {side} {start}?",
    "Can you tell me which {unit} is {n} {units} {side} {start}?",
    "Do you know what {unit} is {n} {units} {side} {start}?",
)  # fmt: skip
NEIGHBOURS = (
    "What {unit} comes {side} {start}?", "Which {unit} is {side} {start}?", "What comes {side} {start}?",
    "Which {unit} comes right {side} {start}?", "the {unit} {side} {start}", "Name the {unit} {side} {start}.",
    "What is the {unit} {side} {start}?", "Tell me the {unit} {side} {start}.", "What {unit} is {side} {start}?",
    "Which {unit} comes {side} {start}?", "Which {unit} comes directly {side} {start}?", "What is {side} {start}?",
    "Do you know which {unit} comes {side} {start}?", "Can you name the {unit} {side} {start}?", "{side} {start}?",
    "Which {unit} do I get {side} {start}?", "I forgot which {unit} is {side} {start}.", "And {side} {start}?",
    "Which {unit} will we have right {side} {start}?", "Could you tell me the {unit} {side} {start}?",
    "We need the {unit} {side} {start}.", "Tell me which {unit} we have just {side} {start}.",
    "Do you know the {unit} {side} {start}?",
    "Which {unit} do we have {side} {start}?",
)  # fmt: skip
TODAY = (
    "If today is {start}, what day is tomorrow?", "Today is {start}. What day is tomorrow?",
    "If it is {start} today, what is tomorrow?", "It is {start}. Which day is tomorrow?",
    "Today is {start}. What is tomorrow?", "Today it is {start}. Which day is tomorrow?",
    "If today is {start}, what is tomorrow?",
    "It is {start} today. Tell me the day of tomorrow.", "What is tomorrow if today is {start}?",
    "Suppose today is {start}. What is tomorrow?",
)  # fmt: skip
LISTS = {
    "Name the days of the week.|What are the days of the week?|List the days of the week.|List all weekdays."
    "|How many days are in a week?|Which days does a week have?|Can you name the days of the week?":
    "A week has seven days: " + ", ".join(DAYS[:-1]) + " and " + DAYS[-1] + ".",
    "Name the months of the year.|What are the months of the year?|List the months.|List all months of the year."
    "|How many months are in a year?|Which months does a year have?|Can you name the months of the year?":
    "A year has twelve months: " + ", ".join(MONTHS[:-1]) + " and " + MONTHS[-1] + ".",
}  # fmt: skip


def walk(unit: str, cycle: tuple[str, ...], start: str, steps: int, after: bool) -> str:
    """Goes from one name to another and counts down, so that no step is guessed and the end shows itself."""
    at, sign = cycle.index(start), 1 if after else -1
    passed = [cycle[(at + sign * i) % len(cycle)] for i in range(1, steps + 1)]
    counted = ", ".join(f"{steps - i} {name}" for i, name in enumerate(passed))
    units = unit if steps == 1 else unit + "s"
    return f"{steps} {units} {'on' if after else 'back'} from {start}, counting down: {counted}. It is {passed[-1]}."


def a_distance(rng: random.Random) -> str:
    """A name of a day or month, a distance of one digit and a direction."""
    cycle = DAYS if rng.random() < 0.5 else MONTHS
    return f"{rng.choice(cycle)} {rng.randrange(1, 10)} {rng.choice(('after', 'before'))}"


def distance(rng: random.Random, held_out: bool) -> Exchange:
    """A question such as which day is three days after Tuesday."""
    start, steps, side = draw_where(rng, a_distance, held_out).split()
    cycle, unit = (DAYS, "day") if start in DAYS else (MONTHS, "month")
    seen, unseen = split_last(DISTANCES)
    written = NUMBERS[int(steps)] if rng.random() < 0.4 else steps
    user = rng.choice(unseen if held_out and rng.random() < 0.5 else seen).format(
        unit=unit, units=unit if steps == "1" else unit + "s", n=written, side=side, start=start
    )
    user = user[0].upper() + user[1:]
    answer = walk(unit, cycle, start, int(steps), side == "after")
    return Exchange(user if held_out else as_typed(rng, user), answer)


def neighbour(rng: random.Random, held_out: bool) -> Exchange:
    """A question such as which month comes after March, which day tomorrow is, or how the days are called."""
    kind, part = rng.random(), -1 if held_out else 0
    if kind < 0.12:
        asks, answer = rng.choice(list(LISTS.items()))
        user = rng.choice(split_last(asks.split("|"), 1)[part])
    elif kind < 0.3:
        day = rng.choice(DAYS)
        user = rng.choice(split_last(TODAY, 1)[part]).format(start=day)
        answer = f"Tomorrow is {DAYS[(DAYS.index(day) + 1) % 7]}."
    else:
        cycle, unit = (DAYS, "day") if rng.random() < 0.5 else (MONTHS, "month")
        at, after = rng.randrange(len(cycle)), rng.random() < 0.5
        found, side = cycle[(at + (1 if after else -1)) % len(cycle)], "after" if after else "before"
        user = rng.choice(split_last(NEIGHBOURS)[part]).format(unit=unit, side=side, start=cycle[at])
        user = user[0].upper() + user[1:]
        answer = f"{found} comes {side} {cycle[at]}."
    return Exchange(user if held_out else as_typed(rng, user), answer)


def date_skills() -> list[Skill]:
    """All skills with days and months."""
    return [
        Skill("days and months, distances", 1.9, lambda r: distance(r, False), lambda r: distance(r, True)),
        Skill("days and months, neighbours", 1.1, lambda r: neighbour(r, False), lambda r: neighbour(r, True)),
    ]
