"""Splitting of texts: what ends a sentence in several scripts, and what only looks like an end."""

import time

import pytest

from services.engine.speech_synthesis.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello. How are you? Fine!", ["Hello.", "How are you?", "Fine!"]),
        (
            "Dr. Smith paid 3.14 dollars at 5 p.m. to J. R. R. Tolkien. He left.",
            ["Dr. Smith paid 3.14 dollars at 5 p.m. to J. R. R. Tolkien.", "He left."],
        ),
        (
            "See e.g. the U.S. Army, No. 5, vol. 2. It was no. Really.",
            ["See e.g. the U.S. Army, No. 5, vol. 2.", "It was no.", "Really."],
        ),
        ("Wait... what? Wait... What?", ["Wait... what?", "Wait...", "What?"]),
        ("1. Buy milk. 2. Go home.", ["1. Buy milk.", "2. Go home."]),
        ("Born in 1999. Grew up.", ["Born in 1999.", "Grew up."]),
        ('He said "Go!" and went. "Go." (She went.) Yes', ['He said "Go!" and went.', '"Go."', "(She went.)", "Yes"]),
        ("«Oui.» Il part.", ["«Oui.»", "Il part."]),
        ("こんにちは。「元気ですか？」はい。", ["こんにちは。", "「元気ですか？」", "はい。"]),
        ("यह है। वह है।", ["यह है।", "वह है।"]),
        ("مرحبا؟ نعم۔ لا", ["مرحبا؟", "نعم۔", "لا"]),
        ("A title\n\nA paragraph\nof two lines", ["A title", "A paragraph\nof two lines"]),
        ("  Really?!  ... !!! \n 🌊 ", ["Really?!"]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text, 300) == expected


def test_a_long_sentence_is_divided_at_commas_else_at_spaces_else_anywhere() -> None:
    assert sentences("one, two, three, four and five; six seven eight", 20) == [
        "one, two, three,", "four and five;", "six seven eight",
    ]  # fmt: skip
    assert sentences("one two three four five six", 10) == ["one two", "three four", "five six"]
    assert sentences("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert sentences("x" * 10 + " " + "y" * 3, 10) == ["x" * 10, "yyy"]


@pytest.mark.usefixtures("uncollected")  # the collector would look at all that other tests have left, in this time
@pytest.mark.parametrize("unit", [".", ". ", "a. ", '."', "\n ", "x", "a, ", "。", "é. ", "I. ", "(", "。」", "1. "])
def test_no_text_takes_long(unit: str) -> None:
    text = (unit * 20_000)[:20_000]
    began = time.thread_time()
    found = sentences(text, 250)
    assert time.thread_time() - began < 1
    assert all(0 < len(sentence) <= 250 for sentence in found)
    letters = "".join(each for each in "".join(found) if each.isalnum())
    assert letters == "".join(each for each in text if each.isalnum())
