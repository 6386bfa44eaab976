"""Transcribe, and utterances of StreamTranscribe, for models that write tokens while they read audio."""

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
from services.speech.dictation.dictation_course import confidence
from services.speech.dictation.dictation_options import DictationOptions
from services.speech.dictation.dictation_writer import WindowAnswers
from services.speech.dictation.transcribe_dictation import DictationTranscriber
from services.speech.live.reading import Reading, Word, spaced
from services.speech.transcription.text_words import words_of
from services.speech.transcription.transcribe_ask import TranscribeAsk
from services.speech.transcription.transcribe_checks import MOST_TRANSCRIPTS
from services.speech.transcription.window_reading import WindowReading

_BROKEN = "\ufffd"
"""The replacement character: a decoded text ends in it if its last character is incomplete."""


class FollowingText:
    """Decodes the tokens of one model. May be used by any thread."""

    def __init__(self, model: FollowingModel, encoder: PromptEncoder) -> None:
        self._encoder = encoder
        tokenizer: Any = model.loaded.tokenizer
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        self._special = special | set(tokenizer.all_special_ids)

    def decode(self, written: Sequence[Written]) -> str:
        """Returns the text of tokens. Most tokens are special ones that stand for silence."""
        return self._encoder.decode([each.token for each in written], skip_special_tokens=True).strip()

    def text_tokens(self, written: Sequence[Written]) -> list[Written]:
        """Returns the text tokens, without special ones."""
        return [each for each in written if each.token not in self._special]


class FollowingWriter:
    """A WindowAsker: pushes a whole window at once, and the model reads it as fast as it can."""

    def __init__(self, engine: FollowingEngine, text: FollowingText) -> None:
        self._engine = engine
        self._text = text

    async def write(
        self, samples: Any, options: DictationOptions, deadline: float | None, work: Work | None = None
    ) -> WindowAnswers:
        """See WindowAsker."""
        del options  # such a model takes none
        stream = self._engine.follow(deadline, work or Work(), recorded=True)
        try:
            stream.push(samples)
            stream.end()
            times = await stream.finished()
        finally:
            stream.cancel()
        tokens = self._text.text_tokens(stream.written)
        reading = WindowReading(
            [each.token for each in tokens], [each.log_probability for each in tokens], len(stream.written)
        )
        return WindowAnswers([reading], 0, times.queue, times.compute)


class FollowedDictation:
    """A Dictated for models that take audio only, no language and no prompt."""

    reserved: tuple[str, ...] = ()
    manner = Manner(lambda wish: wish)

    def __init__(self, rate: int) -> None:
        self.rate = rate


class FollowingTranscriber(DictationTranscriber):
    """Transcribes recordings in windows that are cut at pauses. Refuses all options that the model cannot take."""

    def _options(self, ask: TranscribeAsk, wrong: list[Violation]) -> DictationOptions:
        if ask.parameters is not None:
            wrong.append(Violation("parameters", "does not apply: the model decodes greedily"))
        if ask.transcript_count is not None and 1 < ask.transcript_count <= MOST_TRANSCRIPTS:
            wrong.append(Violation("transcript_count", "does not apply: the model gives only one transcript"))
        return super()._options(replace(ask, parameters=None, transcript_count=None), wrong)


class FollowedUtterance:
    """A Following over a stream of the engine."""

    def __init__(self, stream: FollowingStream, text: FollowingText, work: Work) -> None:
        self._stream = stream
        self._text = text
        self._work = work
        self._known = 0
        self._reading = Reading([])
        """The reading of the tokens known so far."""

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
        if self._text.text_tokens(new):  # most tokens are silence and change no text
            self._reading = Reading(_words(self._text.decode(self._stream.written).rstrip(_BROKEN)))
        return self._reading

    async def finished(self) -> Reading:
        """See Following."""
        self._stream.end()
        times = await self._stream.finished()
        tokens = self._text.text_tokens(self._stream.written)
        return Reading(
            _words(self._text.decode(self._stream.written)),
            confidence=confidence([each.log_probability for each in tokens]),
            output_tokens=len(self._stream.written),
            queue=times.queue,
            compute=times.compute,
        )

    def cancel(self) -> None:
        """See Following."""
        self._stream.cancel()


class LiveFollower:
    """A Follower for the utterances of one stream; `deadline` is that of the stream."""

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
