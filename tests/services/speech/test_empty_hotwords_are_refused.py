from services.sent_media import SentMedia
from services.speech.transcription.transcribe_ask import TranscribeAsk
from services.speech.transcription.transcribe_checks import wrong_options


def test_empty_hotwords_are_refused() -> None:
    """A prompt would hold a comma, or the sentence that introduces them, for nothing."""
    ask = TranscribeAsk(SentMedia(b"", ""), None, (), hotwords=["Bee", "", " "])
    assert [each.field for each in wrong_options(ask)] == ["hotwords[1]", "hotwords[2]"]
