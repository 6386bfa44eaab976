import random

import pytest

from services.speech.live.agreement import Agreement, behind
from services.speech.live.reading import Word, joined, spaced


def words(text: str, start: float = 0.0, each: float = 0.4) -> list[Word]:
    return [Word(part, " ", start + i * each, start + (i + 1) * each - 0.1) for i, part in enumerate(text.split())]


def untimed(text: str) -> list[Word]:
    return [Word(part) for part in text.split()]


def test_what_three_readings_agree_on_is_stable() -> None:
    agreement = Agreement()
    first = agreement.take(words("one two free"), until=9)
    assert (first.stable_count, first.stability) == (0, None)
    second = agreement.take(words("one two three for"), until=9)
    assert (joined(second.words), second.stable_count, second.stability) == ("one two three for", 0, 0.5)
    third = agreement.take(words("one two three four"), until=9)
    assert (joined(third.words), third.stable_count, third.stability) == ("one two three four", 2, 0.5)
    fourth = agreement.take(words("one two three four five"), until=9)
    assert (fourth.stable_count, fourth.stability) == (3, 0.5)


def test_words_at_the_edge_wait() -> None:
    agreement = Agreement()
    for _ in range(2):
        agreement.take(words("one two three"), until=0.75)
    found = agreement.take(words("one two three"), until=0.75)
    assert (found.stable_count, found.stability) == (2, 1.0)


def test_without_times_the_last_word_waits() -> None:
    agreement = Agreement()
    for _ in range(2):
        agreement.take(untimed("one two"), until=0)
    assert agreement.take(untimed("one two"), until=0).stable_count == 1
    assert agreement.take(untimed("one two three"), until=0).stable_count == 2


def test_equal_words_of_other_times_are_others() -> None:
    agreement = Agreement()
    for start in (0.0, 2.0, 4.0):
        assert agreement.take(words("one", start=start), until=9).stable_count == 0


def after(text: str, until: float = 9) -> Agreement:
    """Returns an agreement after three equal readings, so that `text` is stable."""
    agreement = Agreement()
    for _ in range(3):
        agreement.take(words(text), until=until)
    return agreement


def test_a_shorter_reading_takes_nothing_back() -> None:
    found = after("one two").take(words("one"), until=9)
    assert (joined(found.words), found.stable_count) == ("one two", 2)


def test_the_last_reading_goes_on_behind_the_stable_words() -> None:
    assert joined(after("one too three", until=0.9).close(words("one two three four"))) == "one too three four"


def test_the_last_reading_is_taken_as_it_is_where_it_agrees() -> None:
    last = words("one two three", start=0.05)
    assert after("one two").close(last) == last


def test_times_tell_which_of_two_equal_beginnings_is_meant() -> None:
    stable = [Word("nine", " ", 0.0, 0.3)]
    assert joined(behind(stable, words("five nine"))) == "nine"
    assert joined(behind([Word("nine", " ", 0.4, 0.7)], words("five nine"))) == ""


def test_words_without_spaces_stay_so() -> None:
    agreement = Agreement()
    reading = [Word("今日", "", 0.0, 0.4), Word("は", "", 0.4, 0.6)]
    for _ in range(2):
        agreement.take(reading, until=9)
    assert joined(agreement.take(reading, until=9).words) == "今日は"


@pytest.mark.parametrize(
    ("text", "parts", "spaces"),
    [
        ("it's so, now", ["it", "'s", "so,", "now"], [" ", "", " ", " "]),
        ("今日は。", ["今日", "は。"], ["", ""]),
        ("one", ["one"], [" "]),
        ("one  two", ["one", "2", "two"], [" ", " ", "  "]),
        ("", [], []),
    ],
)
def test_words_are_parted_as_in_their_text(text: str, parts: list[str], spaces: list[str]) -> None:
    found = spaced([Word(part) for part in parts], text)
    assert [word.space for word in found] == spaces
    assert joined(found) == text or "2" in parts


def test_no_readings_whatever_change_what_was_stable() -> None:
    draws = random.Random(0)
    for _ in range(300):
        agreement, stable = Agreement(), ""
        said = [draws.choice("abc") for _ in range(12)]
        for length in range(1, 13):
            heard = [draws.choice("abcd") if draws.random() < 0.3 else word for word in said[:length]]
            heard = [word for word in heard if draws.random() < 0.95]
            found = agreement.take(words(" ".join(heard)) if heard else [], until=draws.uniform(0, 5))
            text = joined(found.words[: found.stable_count])
            assert text.startswith(stable)
            assert joined(found.words).startswith(text)
            assert found.stability is None or 0 <= found.stability <= 1
            stable = text
        assert joined(agreement.close(words(" ".join(said)))).startswith(stable)
