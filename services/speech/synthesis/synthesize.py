"""The verbs Synthesize and StreamSynthesize."""

import secrets
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sensorium.errors import InvalidArgument, Violation
from services.engine.media.audio_encoding import media_type
from services.engine.speech_synthesis.draws import Draws, key_of
from services.engine.speech_synthesis.engine import SpeechEngine
from services.engine.speech_synthesis.model import LoadedSpeaker, Manner
from services.engine.speech_synthesis.reading import read_text
from services.engine.speech_synthesis.speech import REST, Step
from services.engine.threads.preprocessing import Preprocessing
from services.speech.synthesis.spoken_text import Accepted, SpokenText
from services.speech.synthesis.synthesis_ask import AudioFacts, SynthesisAsk, WholeAudio
from services.speech.synthesis.synthesis_checks import manner_of, wrong_wishes

_OTHER_FIELDS = 4096
"""Bytes of a response reserved for fields other than the audio."""


@dataclass(frozen=True)
class _Prepared:
    sentences: list[list[int]]
    manner: Manner
    facts: AudioFacts


class Synthesizer:
    """Synthesizes texts sentence by sentence."""

    def __init__(
        self,
        loaded: LoadedSpeaker,
        engine: SpeechEngine,
        preprocessing: Preprocessing,
        most_characters: int,
        message_bytes: int,
    ) -> None:
        """A text has `most_characters` at most, an answer `message_bytes`."""
        self._loaded = loaded
        self._engine = engine
        self._preprocessing = preprocessing
        self._most_characters = most_characters
        self._most_bytes = message_bytes - _OTHER_FIELDS

    @asynccontextmanager
    async def speaking(self, ask: SynthesisAsk) -> AsyncGenerator[SpokenText]:
        """Synthesizes a text while its audio is read; leaving the context cancels the rest.

        Raises what SpeechEngine.speak raises, and:
            InvalidArgument: the text or an option is wrong.
        """
        began = time.monotonic()
        prepared = await self._preprocessing.run(self._prepare, ask)
        tokens = sum(map(len, prepared.sentences))
        accepted = Accepted(began, time.monotonic() - began, tokens)
        stream = self._engine.speak(self._steps(prepared), tokens, ask.deadline)
        rate = self._loaded.speaker.sample_rate
        try:
            yield SpokenText(stream, prepared.facts, rate, self._preprocessing, accepted)
        finally:
            stream.cancel()

    async def synthesize(self, ask: SynthesisAsk) -> WholeAudio:
        """Synthesizes a text and returns all of its audio.

        Raises what SpeechStream raises, and:
            InvalidArgument: the text or an option is wrong, or the audio does not fit into one message.
        """
        async with self.speaking(ask) as spoken:
            audio = await spoken.whole(self._most_bytes)
            if audio is None:
                most = f"the {self._most_bytes} bytes that a message holds"
                advice = "ask for FLAC or OGG_OPUS, have it streamed, or send less of it"
                raise InvalidArgument([Violation("text", f"takes more than {most} as audio: {advice}")])
            facts = spoken.facts
            return WholeAudio(audio, media_type(facts.encoding, facts.sample_rate), facts, spoken.end(at_once=True))

    def _prepare(self, ask: SynthesisAsk) -> _Prepared:
        speaker = self._loaded.speaker
        wrong = wrong_wishes(ask, speaker, self._most_characters)
        sentences: list[list[int]] = []
        if not any(violation.field == "text" for violation in wrong):
            sentences = read_text(speaker, ask.text)
            if not sentences:
                wrong.append(Violation("text", "holds nothing that the model can say"))
            elif (longest := max(map(len, sentences))) > speaker.most_tokens:
                most = f"the model reads at most {speaker.most_tokens}"
                wrong.append(Violation("text", f"has {longest} tokens, and {most}"))
        if wrong:
            raise InvalidArgument(wrong)
        facts = AudioFacts(
            ask.encoding,
            speaker.sample_rate if ask.sample_rate is None else ask.sample_rate,
            secrets.randbits(63) if ask.seed is None else ask.seed,
        )
        return _Prepared(sentences, manner_of(ask, speaker), facts)

    def _steps(self, prepared: _Prepared) -> Generator[Step, None, bool]:
        """Synthesizes all sentences in order, yielding as the engine expects; returns whether any was cut.

        Runs in the engine's thread.
        """
        manner, cut = prepared.manner, False
        for place, tokens in enumerate(prepared.sentences):
            if place:
                yield REST
            draws = Draws(key_of(prepared.facts.seed, place), self._loaded.device)
            spoken = yield from self._loaded.speaker.speak(tokens, manner, draws)
            manner, cut = replace(manner, like=spoken.like), cut or spoken.cut
        return cut
