"""Whisper checkpoints of before 2024 give language and task as `forced_decoder_ids`."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.engine.listening.tokens import ListeningTokens, listening_tokens
from tests.tiny.scribes import scribe_tokenizer

START, DE, EN, TRANSCRIBE, TRANSLATE, NONE = range(40, 46)
NAMED: dict[str, Any] = {
    "lang_to_id": {"<|de|>": DE, "<|en|>": EN}, "task_to_id": {"transcribe": TRANSCRIBE, "translate": TRANSLATE},
}  # fmt: skip


def tokens(in_config: Any = None, **more: Any) -> ListeningTokens:
    own = SimpleNamespace(no_timestamps_token_id=NONE, decoder_start_token_id=START, eos_token_id=2, **more)
    model: Any = SimpleNamespace(generation_config=own, config=SimpleNamespace(forced_decoder_ids=in_config))
    return listening_tokens(model, scribe_tokenizer(), "a model")


@pytest.mark.parametrize(
    ("forced", "more", "language"),
    [
        ([[1, DE], [2, TRANSCRIBE]], {}, "de"),
        ([[1, DE], [2, TRANSCRIBE], [3, NONE]], {}, "de"),
        ([[1, None], [2, TRANSCRIBE]], {}, ""),
        ([[1, DE], [2, TRANSCRIBE]], {"language": "en"}, "en"),
        (None, {}, ""),
    ],
)
def test_the_language_is_the_forced_one(forced: Any, more: dict[str, Any], language: str) -> None:
    found = tokens(forced_decoder_ids=forced, **NAMED, **more)
    assert found.own_language == language
    assert found.opening("de", "transcribe") == (START, DE, TRANSCRIBE)


@pytest.mark.parametrize(
    ("forced", "opening"),
    [
        ([[1, DE], [2, TRANSCRIBE], [3, NONE]], (START, DE, TRANSCRIBE)),
        ([[1, NONE]], (START,)),
        (None, (START,)),
    ],
)
def test_where_no_languages_are_named_all_is_forced(forced: Any, opening: tuple[int, ...]) -> None:
    assert tokens(forced_decoder_ids=forced).opening("", "transcribe") == opening


@pytest.mark.parametrize(
    ("own", "language"), [({}, "de"), ({"forced_decoder_ids": None}, "de"), ({"forced_decoder_ids": [[1, EN]]}, "en")]
)
def test_the_model_s_configuration_counts_where_the_generation_configuration_has_none(
    own: dict[str, Any], language: str
) -> None:
    assert tokens(in_config=[[1, DE], [2, TRANSCRIBE]], **NAMED, **own).own_language == language
