"""The verb Transcribe, and utterances of StreamTranscribe, by a model that writes while it hears."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sensorium.errors import Violation
from services.engine.dictation.manner import Manner
from services.engine.following.engine import FollowingEngine
from services.engine.following.model import FollowingModel, Written
from services.engine.following.stream import FollowingStream
from services.engine.generation.requests.request import Work
from services.engine.language.prompting import PromptEncoder
from services.speech.dictation_course import confidence
from services.speech.dictation_options import DictationOptions
from services.speech.dictation_writer import WindowAnswers
from services.speech.live.reading import Reading, Word, spaced
from services.speech.text_words import words_of
from services.speech.transcribe_ask import TranscribeAsk
from services.speech.transcribe_checks import MOST_TRANSCRIPTS
from services.speech.transcribe_dictation import DictationTranscriber
from services.speech.window_reading import WindowReading

_BROKEN = "\ufffd"
"""What a text ends in whose last character is not complete."""


class FollowingText:
    """Tokens as text. For any thread."""

    def __init__(self, model: FollowingModel, encoder: PromptEncoder) -> None:
        self._encoder = encoder
        tokenizer: Any = model.loaded.tokenizer
        added = {token for token, told in tokenizer.added_tokens_decoder.items() if told.special}
        self._special = added | set(tokenizer.all_special_ids)

    def decode(self, written: Sequence[Written]) -> str:
        """Returns the text of tokens, most of which may say that nothing is to be written."""
        return self._encoder.decode([each.token for each in written], skip_special_tokens=True).strip()

    def telling(self, written: Sequence[Written]) -> list[Written]:
        """Returns those tokens that are of the text."""
        return [each for each in written if each.token not in self._special]


class FollowingWriter:
    """A WindowAsker: a recording is heard as fast as the model can."""

    def __init__(self, engine: FollowingEngine, text: FollowingText) -> None:
        self._engine = engine
        self._text = text

    async def write(
        self, samples: Any, options: DictationOptions, deadline: float | None, work: Work | None = None
    ) -> WindowAnswers:
        """See WindowAsker."""
        del options  # which hold nothing that such a model could be told
        stream = self._engine.follow(deadline, work or Work(), recorded=True)
        try:
            stream.push(samples)
            stream.end()
            times = await stream.finished()
        finally:
            stream.cancel()
        telling = self._text.telling(stream.written)
        reading = WindowReading(
            [each.token for each in telling], [each.log_probability for each in telling], len(stream.written)
        )
        return WindowAnswers([reading], 0, times.queue, times.compute)


class FollowedDictation:
    """A Dictated: it takes nothing but sound."""

    reserved = ()
    manner = Manner(lambda wish: wish)

    def __init__(self, rate: int) -> None:
        self.rate = rate


class FollowingTranscriber(DictationTranscriber):
    """Transcribes recordings in windows, each ending where nobody speaks. What the model cannot be told is refused."""

    def _options(self, ask: TranscribeAsk, wrong: list[Violation]) -> DictationOptions:
        if ask.parameters is not None:
            wrong.append(Violation("parameters", "does not apply: the model writes what is likeliest as it hears"))
        if ask.transcript_count is not None and 1 < ask.transcript_count <= MOST_TRANSCRIPTS:
            wrong.append(Violation("transcript_count", "does not apply: the model has only one reading"))
        return super()._options(replace(ask, parameters=None, transcript_count=None), wrong)


class FollowedUtterance:
    """A Following."""

    def __init__(self, stream: FollowingStream, text: FollowingText, work: Work) -> None:
        self._stream = stream
        self._text = text
        self._work = work
        self._known = 0
        self._told = Reading([])
        """What the tokens that are known say."""

    @property
    def caught_up(self) -> bool:
        """See Following."""
        return self._stream.caught_up

    def push(self, samples: Any) -> None:
        """See Following."""
        self._stream.push(samples)

    async def advanced(self) -> Reading:
        """See Following."""
        await self._stream.advanced(self._known)
        new = self._stream.written[self._known :]
        self._known += len(new)
        if self._text.telling(new):  # most say that nothing is to be written
            self._told = Reading(_words(self._text.decode(self._stream.written).rstrip(_BROKEN)))
        return self._told

    async def finished(self) -> Reading:
        """See Following."""
        self._stream.end()
        times = await self._stream.finished()
        telling = self._text.telling(self._stream.written)
        return Reading(
            _words(self._text.decode(self._stream.written)),
            confidence=confidence([each.log_probability for each in telling]),
            output_tokens=len(self._stream.written),
            queue=times.queue,
            compute=times.compute,
        )

    def cancel(self) -> None:
        """See Following."""
        self._stream.cancel()


class LiveFollower:
    """A Follower."""

    def __init__(self, engine: FollowingEngine, text: FollowingText, deadline: float | None) -> None:
        self._engine = engine
        self._text = text
        self._deadline = deadline

    def follow(self) -> FollowedUtterance:
        """See Follower."""
        work = Work()
        return FollowedUtterance(self._engine.follow(self._deadline, work), self._text, work)


def _words(text: str) -> list[Word]:
    return spaced([Word(word) for word in words_of(text)], text)
