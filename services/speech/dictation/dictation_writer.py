"""Generates the transcripts of single windows through the engine of a prompted model."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from services.engine.dictation.dictation import Dictation
from services.engine.generation.requests.request import Work
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.multimodal.prompts import MultimodalPrompt
from services.engine.threads.preprocessing import Preprocessing
from services.generation.ask import GenerationAsk
from services.generation.generator import TextGenerator
from services.speech.dictation.dictation_options import DictationOptions
from services.speech.transcription.window_reading import WindowReading, read_candidates

TOKENS_PER_SECOND = 32
"""Output limit if the model's files set none: more than fast speech needs, and an end for repetition loops."""
_MORE_TOKENS = 128
"""Additional output tokens for what surrounds the transcript, such as a language tag."""


@dataclass(frozen=True)
class WindowAnswers:
    """The candidates for one window."""

    candidates: list[WindowReading]
    """Best first if ranked."""
    prompt_tokens: int
    queue: float
    compute: float
    """Both in seconds."""


class WindowAsker(Protocol):
    """Transcribes single windows; windows of all requests share the engine's steps."""

    async def write(
        self, samples: Any, options: DictationOptions, deadline: float | None, work: Work | None = None
    ) -> WindowAnswers:
        """Transcribes the samples of a window, a numpy array `[n]` of float32. Adds the compute time to `work`.

        Raises:
            MediumRefused: the model cannot read them, for example because they are too few.
        """
        ...


class DictationWriter:
    """A WindowAsker for multimodal decoders, whose prompt holds the window."""

    def __init__(
        self, generator: TextGenerator, dictation: Dictation, defaults: ModelDefaults, preprocessing: Preprocessing
    ) -> None:
        self._generator = generator
        self._dictation = dictation
        self._defaults = defaults
        self._preprocessing = preprocessing

    async def write(
        self, samples: Any, options: DictationOptions, deadline: float | None, work: Work | None = None
    ) -> WindowAnswers:
        """See WindowAsker."""
        prompt: MultimodalPrompt = await self._preprocessing.run(self._dictation.prompt, samples, options.wish)
        longest = _MORE_TOKENS + int(len(samples) / self._dictation.rate * TOKENS_PER_SECOND)
        ask = GenerationAsk(
            prompt_token_ids=prompt.token_ids,
            options=options.generation,
            defaults=replace(self._defaults, max_new_tokens=self._defaults.max_new_tokens or longest),
            heard=prompt.media,
            deadline=deadline,
            field="audio",
            work=work,
        )
        generation = await self._generator.start(ask)
        candidates, times = await read_candidates(generation.stream, self._defaults.end_token_ids)
        return WindowAnswers(candidates, generation.prompt_token_count, times.queue, times.compute)
