import random
from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest

from services.engine.generation.output.stop_strings import Match, StopScanner


def cuts(text: str) -> Iterator[list[str]]:
    """Yields the text in every way of cutting it up."""
    places = range(1, len(text))
    for count in range(len(text)):
        for chosen in combinations(places, count):
            edges = [0, *chosen, len(text)]
            yield [text[a:b] for a, b in pairwise(edges)]


def scan(pieces: list[str], *stops: str, include: bool = False) -> tuple[str, str | None]:
    """Returns the text that left, and the stop string that ended it."""
    scanner = StopScanner(stops, include=include)
    text = ""
    for piece in pieces:
        released = scanner.push(piece)
        if isinstance(released, Match):
            return text + released.text, released.stop_string
        text += released
    return text + scanner.flush(), None


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("text", ["abcSTOPxy", "SSTOP", "STSTOP", "STOP", "xSTOSTOPST", "STOPSTOP"])
def test_a_stop_string_is_found_over_every_way_of_cutting(text: str, include: bool) -> None:
    before = text[: text.index("STOP")]
    for pieces in cuts(text):
        assert scan(pieces, "STOP", include=include) == (before + "STOP" * include, "STOP"), pieces


def test_text_that_only_seems_to_begin_one_comes_out_whole() -> None:
    for pieces in cuts("STxSTOxSTO"):
        assert scan(pieces, "STOP", "STO!") == ("STxSTOxSTO", None), pieces


def test_the_earliest_wins_and_then_the_longest_when_both_arrive_at_once() -> None:
    assert scan(["one two three"], "three", "two", "one two thr") == ("", "one two thr")
    assert scan(["abcd"], "b", "bc", "bcd") == ("a", "bcd")
    assert scan(["abcd"], "cd", "bc") == ("a", "bc")


def test_a_stop_string_that_is_complete_does_not_wait_for_a_longer_one() -> None:
    assert scan(["a", "b", "c", "d"], "b", "bc") == ("a", "b")


def test_only_what_may_begin_a_stop_string_is_held_back() -> None:
    scanner = StopScanner(("\n\nUser:", "User"), include=False)
    assert scanner.push("Hello\n") == "Hello"
    assert scanner.push("\nUs") == ""
    assert scanner.push("!") == "\n\nUs!"
    assert scanner.push("plain") == "plain"
    assert scanner.push("Use") == ""
    assert scanner.flush() == "Use"
    assert scanner.flush() == ""


def test_without_stop_strings_nothing_is_held() -> None:
    assert StopScanner((), include=False).push("anything") == "anything"


def test_a_random_text_ends_as_if_it_had_come_at_once_unless_a_shorter_one_was_complete_before() -> None:
    generator = random.Random(5)
    for _ in range(3000):
        text = "".join(generator.choices("ab", k=generator.randint(1, 12)))
        # Of equal length none is complete before another that begins earlier.
        stops = tuple({"".join(generator.choices("ab", k=3)) for _ in range(3)})
        edges = sorted({0, len(text), *generator.choices(range(len(text) + 1), k=4)})
        pieces = [text[a:b] for a, b in pairwise(edges)]
        assert scan(pieces, *stops) == scan([text], *stops), (pieces, stops)
