"""Sums, differences, comparisons and times tables, with the steps written out."""

from __future__ import annotations

import random
from collections.abc import Callable

from models.recipes.chat.exchanges import Exchange, Skill, draw_where, split_last
from models.recipes.chat.typing_habits import as_typed

SUMS = (
    "What is {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} =", "What is {a} plus {b}?", "How much is {a} + {b}?",
    "Add {a} and {b}.", "{a} plus {b}", "Can you add {a} and {b}?", "What is the sum of {a} and {b}?",
    "Calculate {a} + {b}.", "Compute {a} + {b}.", "What do {a} and {b} make?", "What's {a}+{b}?",
    "I have {a} apples and get {b} more. How many do I have?", "How much is {a} plus {b}?",
    "There are {a} birds and {b} more arrive. How many are there?", "Please add {b} to {a}.",
    "Sum of {a} and {b}", "Tell me {a} plus {b}.", "Please work out {a} plus {b}.", "What does {a} + {b} make?",
    "Could you tell me {a} + {b}?", "Work out {a} + {b}.",
)  # fmt: skip
DIFFERENCES = (
    "What is {a} - {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} =", "What is {a} minus {b}?", "How much is {a} - {b}?",
    "Subtract {b} from {a}.", "{a} minus {b}", "Can you take {b} from {a}?", "Calculate {a} - {b}.",
    "Compute {a} - {b}.", "What's {a}-{b}?", "What is the difference of {a} and {b}?", "How much is {a} minus {b}?",
    "What is left of {a} without {b}?", "Work out {a} - {b}.", "Please take {b} away from {a}.",
    "Could you tell me {a} - {b}?", "Please compute {a} minus {b}.",
)  # fmt: skip
LARGER = (
    "Which is larger, {a} or {b}?", "Is {a} larger than {b}?", "What is more, {a} or {b}?", "Compare {a} and {b}.",
    "Is {a} bigger than {b}?", "Which is bigger, {a} or {b}?", "Compare {a} with {b}.", "{a} or {b}, which is larger?",
    "Which is more, {a} or {b}?", "Which number is larger, {a} or {b}?", "Which of {a} and {b} is bigger?",
    "Is {a} smaller than {b}?", "What is larger, {a} or {b}?", "Which is the larger number, {a} or {b}?", "{a} or {b}?",
    "Is {a} less than {b}?", "Which of the numbers {a} and {b} is larger?", "Tell me which is larger, {a} or {b}.",
    "Is {a} or {b} larger?", "Is {a} greater than {b}?", "Which is greater, {a} or {b}?", "Please compare {a} and {b}.",
    "Which of {a} and {b} is larger?", "Is {a} more than {b}?",
)  # fmt: skip
TIMES = (
    "What is {a} times {b}?", "{a} times {b}", "{a} * {b}", "{a} x {b}", "How much is {a} times {b}?", "{a}*{b}",
    "Multiply {a} by {b}.", "What is {a} * {b}?", "Calculate {a} times {b}.", "What is the product of {a} and {b}?",
    "What do you get for {a} times {b}?", "Could you multiply {a} and {b}?", "Please multiply {a} by {b}.",
    "Multiply {a} and {b}.", "Work out {a} * {b}.", "Compute {a} times {b}.", "What's {a} times {b}?",
    "Tell me {a} times {b}.", "Can you work out {a} x {b}?", "What is {a} multiplied by {b}?", "{a} * {b} =",
    "Can you multiply {a} by {b}?", "Please work out {a} times {b}.",
)  # fmt: skip


def add(a: int, b: int) -> str:
    """The sum, worked out by ones and tens first."""
    ones, tens = a % 10 + b % 10, a // 10 * 10 + b // 10 * 10
    return (
        f"{a} + {b}: {a % 10} + {b % 10} = {ones}, {a // 10 * 10} + {b // 10 * 10} = {tens}, "
        f"{tens} + {ones} = {a + b}. The answer is {a + b}."
    )


def subtract(a: int, b: int) -> str:
    """The difference, worked out by ones and tens with borrowing. If it is negative, operands are swapped first."""
    high, low = max(a, b), min(a, b)
    borrowed = 10 if high % 10 < low % 10 else 0
    from_ones, from_tens = high % 10 + borrowed, high // 10 * 10 - borrowed
    ones, tens = from_ones - low % 10, from_tens - low // 10 * 10
    steps = (
        f"{from_ones} - {low % 10} = {ones}, {from_tens} - {low // 10 * 10} = {tens}, {tens} + {ones} = {high - low}."
    )
    if a < b:
        return f"{a} - {b} is below zero. {b} - {a}: {steps} The answer is -{high - low}."
    return f"{a} - {b}: {steps} The answer is {high - low}."


def compare(a: int, b: int) -> str:
    """Which of the two is larger, tens first and ones where the tens are equal."""
    tens, ones = (a // 10, b // 10), (a % 10, b % 10)
    steps = f"{a}: tens {tens[0]}, ones {ones[0]}. {b}: tens {tens[1]}, ones {ones[1]}."
    if a == b:
        return f"{steps} Both are equal."
    place, digits = ("Tens", tens) if tens[0] != tens[1] else ("The tens are equal. Ones", ones)
    return f"{steps} {place}: {max(digits)} is more than {min(digits)}. So {max(a, b)} is larger than {min(a, b)}."


def a_pair(rng: random.Random) -> str:
    """Two numbers below one hundred; small ones more often."""
    top = 10 if rng.random() < 0.15 else 100
    return f"{rng.randrange(top)} {rng.randrange(top)}"


def a_pair_to_subtract(rng: random.Random) -> str:
    """Two numbers below one hundred; the larger mostly comes first."""
    a, b = a_pair(rng).split()
    return f"{max(int(a), int(b))} {min(int(a), int(b))}" if rng.random() < 0.6 else f"{a} {b}"


def operand_skill(
    name: str, weight: float, phrasings: tuple[str, ...], answer: Callable[[int, int], str],
    draw: Callable[[random.Random], str] = a_pair,
) -> Skill:  # fmt: skip
    """A skill whose held-out part has pairs of numbers that training never shows, half of them in unseen phrasings."""
    seen, unseen = split_last(phrasings)

    def draw_part(rng: random.Random, held_out: bool) -> Exchange:
        a, b = (int(n) for n in draw_where(rng, draw, held_out).split())
        template = rng.choice(unseen if held_out and rng.random() < 0.5 else seen)
        user = template.format(a=a, b=b)
        return Exchange(user if held_out else as_typed(rng, user), answer(a, b))

    return Skill(name, weight, lambda rng: draw_part(rng, False), lambda rng: draw_part(rng, True))


def times_skill(weight: float) -> Skill:
    """The times tables up to ten, learnt by heart; the held-out items have unseen phrasings."""
    seen, unseen = split_last(TIMES)

    def draw_part(rng: random.Random, held_out: bool) -> Exchange:
        a, b = rng.randrange(11), rng.randrange(11)
        user = rng.choice(unseen if held_out else seen).format(a=a, b=b)
        return Exchange(user if held_out else as_typed(rng, user), f"{a} times {b} is {a * b}.")

    return Skill("times tables", weight, lambda rng: draw_part(rng, False), lambda rng: draw_part(rng, True))


def arithmetic_skills() -> list[Skill]:
    """All skills with numbers."""
    return [
        operand_skill("sums", 2.6, SUMS, add),
        operand_skill("differences", 2.8, DIFFERENCES, subtract, a_pair_to_subtract),
        operand_skill("comparisons", 1.6, LARGER, compare),
        times_skill(1.6),
    ]
