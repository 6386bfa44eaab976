"""Windows through the engine of a model that is asked for transcripts."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from services.engine.dictation.dictation import Dictation
from services.engine.generation.requests.request import Work
from services.engine.generation.requests.resolution import ModelDefaults
from services.engine.multimodal.prompts import MultimodalPrompt
from services.engine.threads.preprocessing import Preprocessing
from services.generation.ask import GenerationAsk
from services.generation.generator import TextGenerator
from services.speech.dictation_options import DictationOptions
from services.speech.window_reading import WindowReading, read_candidates

TOKENS_PER_SECOND = 32
"""Where the model's files set no limit: more than anybody says, and an end for a model that repeats itself."""
_MORE_TOKENS = 128
"""For what is written around a transcript."""


@dataclass(frozen=True)
class WindowAnswers:
    """What a model wrote of one window."""

    candidates: list[WindowReading]
    """Best first where they are ranked."""
    prompt_tokens: int
    queue: float
    compute: float
    """In seconds."""


class WindowAsker(Protocol):
    """Asks for one window at a time; those of all requests share the engine's steps."""

    async def write(
        self, samples: Any, options: DictationOptions, deadline: float | None, work: Work | None = None
    ) -> WindowAnswers:
        """Returns what the model writes of the samples of a window, a numpy array `[n]`. Its time is added to `work`.

        Raises:
            MediumRefused: they are none that the model reads; too few, say.
        """
        ...


class DictationWriter:
    """A WindowAsker by prompts."""

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
