"""A target language equal to the spoken one asks for no translation, whatever form the two tags have."""

import pytest

from sensorium.errors import Violation
from services.engine.generation.sampling.timestamps import TimestampRule
from services.engine.listening.tokens import TRANSCRIBE, TRANSLATE, ListeningTokens
from services.sent_media import SentMedia
from services.speech.listening.listening_options import listening_options
from services.speech.transcription.transcribe_ask import TranscribeAsk

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
