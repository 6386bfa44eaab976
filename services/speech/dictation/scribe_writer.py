"""Generates the transcripts of single windows through the engine of an encoder-decoder without timestamps."""

from dataclasses import replace
from typing import Any

from services.engine.generation.requests.request import Work
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.listening.hearing import Hearing
from services.engine.listening.openings import Opening
from services.engine.listening.scribe import Scribe
from services.engine.threads.preprocessing import Preprocessing
from services.generation.ask import GenerationAsk
from services.generation.generator import TextGenerator
from services.speech.dictation.dictation_options import DictationOptions
from services.speech.dictation.dictation_writer import TOKENS_PER_SECOND, WindowAnswers
from services.speech.transcription.window_reading import read_candidates


class ScribeWriter:
    """A WindowAsker for encoder-decoders: the request's options become the decoder's first tokens."""

    def __init__(self, generator: TextGenerator, scribe: Scribe, preprocessing: Preprocessing) -> None:
        self._generator = generator
        self._scribe = scribe
        self._defaults = scribe.loaded.defaults
        self._preprocessing = preprocessing

    async def write(
        self, samples: Any, options: DictationOptions, deadline: float | None, work: Work | None = None
    ) -> WindowAnswers:
        """See WindowAsker."""
        window = await self._preprocessing.run(self._scribe.medium, samples)
        opening: Opening = self._scribe.manner.request(options.wish)
        longest = 1 + int(len(samples) / self._scribe.rate * TOKENS_PER_SECOND)
        ask = GenerationAsk(
            prompt_token_ids=[0] * window.token_count,
            options=options.generation,
            defaults=self._opened(opening, longest),
            heard=Hearing(window, 0),
            deadline=deadline,
            field="audio",
            work=work,
        )
        generation = await self._generator.start(ask)
        candidates, times = await read_candidates(generation.stream, self._defaults.end_token_ids)
        return WindowAnswers(candidates, 0, times.queue, times.compute)

    def _opened(self, opening: Opening, longest: int) -> ModelDefaults:
        """Returns the defaults for an opening, with `longest` where the generation configuration has no limit."""
        opened = replace(self._defaults, decoder_start_ids=opening.start_ids)
        return opened if opened.max_length else replace(opened, max_new_tokens=opened.max_new_tokens or longest)
