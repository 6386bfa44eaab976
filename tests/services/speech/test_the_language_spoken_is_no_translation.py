"""Languages in requests: what asks for a translation, and what a model of one unnamed language refuses."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sensorium.errors import Violation
from services.engine.dictation.manner import Manner
from services.engine.generation.sampling.timestamps import TimestampRule
from services.engine.listening.tokens import TRANSCRIBE, TRANSLATE, ListeningTokens
from services.sent_media import SentMedia
from services.speech.dictation.dictation_options import dictation_options
from services.speech.listening.listening_options import listening_options
from services.speech.transcription.transcribe_ask import TranscribeAsk
from services.speech.transcription.transcribe_checks import wrong_for_frames

TOKENS = ListeningTokens(1, None, TimestampRule(9, 8, 2), 7, {"de": 3, "en": 4}, "", {TRANSCRIBE: 5, TRANSLATE: 6})


@pytest.mark.parametrize(
    ("spoken", "written", "task", "refused"),
    [
        ("de-AT", "de-AT", TRANSCRIBE, False),
        ("de-AT", "de", TRANSCRIBE, False),
        ("de-AT", "en", TRANSLATE, False),
        ("de-AT", "fr", TRANSCRIBE, True),
    ],
)
def test_the_language_spoken_is_no_translation(spoken: str, written: str, task: str, refused: bool) -> None:
    sent = SentMedia(b"", "")
    ask = TranscribeAsk(audio=sent, deadline=None, violations=(), language=spoken, target_language=written)
    wrong: list[Violation] = []
    options = listening_options(ask, TOKENS, lambda _: (), 8, wrong)
    assert (options.language, options.task) == ("de", task)
    assert [each.field for each in wrong] == ["target_language"] * refused


def test_a_model_of_a_language_that_its_files_do_not_name_takes_none() -> None:
    """It would be ignored, and come back as the language spoken."""
    ask = TranscribeAsk(audio=SentMedia(b"", ""), deadline=None, violations=(), language="de")
    said = "must be empty: the model has one, and its files do not name it"
    wrong: list[Violation] = []
    listening_options(ask, replace(TOKENS, languages={}, tasks={}), lambda _: (), 8, wrong)
    written: Any = SimpleNamespace(manner=Manner(lambda _: None, has_one_language=True), reserved=())
    dictation_options(ask, written, lambda _: (), 8, wrong)
    assert wrong == [Violation("language", said)] * 2
    assert wrong_for_frames(ask, finds_language=False, own_language="") == wrong[:1]
    assert wrong_for_frames(replace(ask, language=""), finds_language=False, own_language="") == []
