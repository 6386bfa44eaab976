import random
import unicodedata
from itertools import pairwise

import numpy as np
import pytest

from services.engine.encoders.tokens import TextTokens
from services.text.extraction.answer_pieces import ContextPieces
from services.text.extraction.answer_spans import WindowScores, best_answers


def pieces(text: str, offsets: list[tuple[int, int]]) -> ContextPieces:
    return ContextPieces(text, TextTokens([0] * len(offsets), [1] * len(offsets), offsets=offsets))


def by_hand(text: str, start: int, end: int) -> str:
    def joined(place: int) -> bool:
        pair = text[place - 1 : place + 1]
        return 0 < place < len(text) and all(unicodedata.category(c)[0] in "LMN" and c < "\u2e80" for c in pair)

    while joined(start):
        start -= 1
    while joined(end):
        end += 1
    return text[start:end].strip()


def test_random_stretches_are_taken_to_the_ends_of_words() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        text = "".join(chance.choices("ab 東.é\t1🙂 \u0301", k=chance.randint(1, 14)))
        cuts = sorted(chance.choices(range(len(text) + 1), k=5))
        offsets = [(start, end) for start, end in pairwise(cuts) if start < end]
        if not offsets:
            continue
        made, texts = pieces(text, offsets), dict[int, str]()
        for first in range(len(offsets)):
            for last in range(first, len(offsets)):
                starts, ends = made.edges(np.array([first]), np.array([last]))
                wanted = by_hand(text, offsets[first][0], offsets[last][1])
                assert text[starts[0] : ends[0]] == wanted, (text, offsets)
                assert (starts[0] < ends[0]) == bool(wanted)
                if wanted:
                    (fingerprint,) = made.fingerprints(starts, ends).tolist()
                    assert texts.setdefault(fingerprint, wanted) == wanted
        assert len(set(texts.values())) == len(texts), "the same text has the same fingerprint wherever it stands"


@pytest.mark.parametrize(("text", "blank"), [("", True), (" \n", True), ("a", False), (".", False), (" 京", False)])
def test_blank_contexts_are_known(text: str, blank: bool) -> None:
    assert pieces(text, [(i, i + 1) for i in range(len(text))]).is_blank is blank


def scores(start: int, firsts: list[float], lasts: list[float]) -> WindowScores:
    return WindowScores(start, np.array(firsts, np.float32), np.array(lasts, np.float32), 0.0)


def test_equal_texts_are_one_answer_with_the_best_score() -> None:
    made = pieces("a b a", [(0, 1), (2, 3), (4, 5)])
    windows = [scores(0, [0.5, 0.1], [0.5, 0.1]), scores(1, [0.2, 0.9], [0.2, 0.9])]
    answers = best_answers(windows, made, 1, 5)
    assert [(one.text, one.start) for one in answers] == [("a", 4), ("b", 2)]
    assert [one.score for one in answers] == pytest.approx([0.81, 0.04])


def test_equal_scores_keep_the_order_of_the_context() -> None:
    made = pieces("a b c", [(0, 1), (2, 3), (4, 5)])
    answers = best_answers([scores(0, [0.5] * 3, [0.5] * 3)], made, 1, 2)
    assert [one.text for one in answers] == ["a", "b"]


def test_all_answers_are_found_where_many_are_the_same_text() -> None:
    text = "x " * 200 + "y"
    made = pieces(text, [(2 * i, 2 * i + 1) for i in range(201)])
    chances = [0.9] * 200 + [0.1]
    answers = best_answers([scores(0, chances, chances)], made, 1, 2)
    assert [one.text for one in answers] == ["x", "y"]


def test_no_answer_is_longer_than_wanted_nor_before_its_beginning() -> None:
    made = pieces("a b c d", [(2 * i, 2 * i + 1) for i in range(4)])
    window = scores(0, [0.0, 0.0, 0.0, 0.9], [0.9, 0.0, 0.0, 0.1])
    texts = {one.text for one in best_answers([window], made, 2, 100)}
    assert texts == {"a", "b", "c", "d", "a b", "b c", "c d"}
