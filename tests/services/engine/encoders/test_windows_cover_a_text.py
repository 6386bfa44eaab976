import pytest

from services.engine.encoders.reader import TextReader
from services.engine.encoders.windows import own_tokens, room, windows
from tests.tiny.encoders import CONTEXT, bytelevel, wordpiece

WORDS = ["dog", "fox", "the", "lazy"]


@pytest.mark.parametrize("count", [1, 60, 62, 63, 64, 124, 125, 500])
@pytest.mark.parametrize("overlap", [0, 1, 8, 31])
def test_windows_are_those_of_the_tokenizers_stride(count: int, overlap: int) -> None:
    tokenizer, text = wordpiece(), " ".join(["dog"] * count)
    made = windows(TextReader(tokenizer, CONTEXT).encode(text), CONTEXT, overlap)
    own = tokenizer(text, truncation=True, max_length=CONTEXT, stride=overlap, return_overflowing_tokens=True)
    assert [list(window.tokens.ids) for window in made] == own["input_ids"]
    tokenizer.backend_tokenizer.no_truncation()


@pytest.mark.parametrize("tokenizer", [wordpiece(), bytelevel()], ids=["wordpiece", "bytelevel"])
@pytest.mark.parametrize("overlap", [0, 7, 20, 24])
def test_every_token_is_the_own_of_the_window_that_shows_most_around_it(tokenizer: object, overlap: int) -> None:
    reader = TextReader(tokenizer, CONTEXT)  # type: ignore[arg-type]
    question, context = "the dog", " ".join(WORDS[i * i % 4] for i in range(200))
    whole = reader.encode(question, context)
    ids = [whole.ids[place] for place in own_tokens(whole, 1)]
    made = windows(whole, CONTEXT, overlap, 1)
    assert all(len(window.tokens) <= CONTEXT for window in made)
    assert [place for window in made for place in window.own] == list(range(len(ids)))
    for window in made:
        assert list(window.tokens.ids[window.places]) == ids[window.start : window.end]
        assert list(window.tokens.ids[window.own_places]) == ids[window.own.start : window.own.stop]
        assert window.end - window.start <= room(whole, CONTEXT, 1)
    for place in range(len(ids)):
        seen = {
            number: min(
                place - window.start if window.start else len(ids),
                window.end - 1 - place if window.end < len(ids) else len(ids),
            )
            for number, window in enumerate(made)
            if window.start <= place < window.end
        }
        (owner,) = [number for number, window in enumerate(made) if place in window.own]
        assert seen[owner] == max(seen.values())


def test_a_text_of_no_tokens_has_a_window() -> None:
    (window,) = windows(TextReader(wordpiece(), CONTEXT).encode("\u0000"), CONTEXT, 8)
    assert (list(window.tokens.ids), window.own) == ([2, 3], range(0))
    assert list(window.tokens.ids[window.own_places]) == []
