"""Generates the tokens of single windows through the engine of a Whisper-like model."""

from collections.abc import Sequence
from dataclasses import replace

from services.engine.generation.requests.resolution import GenerationOptions
from services.engine.generation.running.media import Medium
from services.engine.listening.hearing import Hearing
from services.engine.listening.loading import ListeningModel
from services.generation.ask import GenerationAsk
from services.generation.generator import TextGenerator
from services.speech.listening.listening_options import ListeningOptions
from services.speech.transcription.window_reading import WindowReadings, read_candidates

_ONE = GenerationOptions(temperature=0.0, max_new_tokens=1, candidate_count=1, logprob_count=0)


class WindowWriter:
    """Sends windows to the engine one by one; windows of all requests share its steps."""

    def __init__(self, generator: TextGenerator, model: ListeningModel) -> None:
        self._generator = generator
        self._tokens = model.tokens
        self._defaults = model.loaded.defaults
        self._most = model.loaded.context_tokens
        self._source = [0] * model.loaded.source_tokens

    async def write(
        self, window: Medium, options: ListeningOptions, language: str, deadline: float | None
    ) -> WindowReadings:
        """Generates the tokens of a window. `language` is one of the model's codes, or empty."""
        opening = (*options.before, *self._tokens.opening(language, options.task))
        hearing = Hearing(window, len(options.before))
        return await self._run(hearing, opening, options.generation, deadline, timed=True)

    async def language(self, window: Medium, deadline: float | None) -> tuple[str, float, WindowReadings]:
        """Detects the language: returns its code and its probability among all languages, from one decoder step."""
        readings = await self._run(Hearing(window, 0), (self._tokens.start,), _ONE, deadline, timed=False)
        known = self._tokens.languages
        shares = readings.start[list(known.values())].softmax(-1)
        best = int(shares.argmax())
        return list(known)[best], float(shares[best]), readings

    async def align(
        self, window: Medium, options: ListeningOptions, language: str, tokens: Sequence[int], deadline: float | None
    ) -> tuple[WindowReadings, int]:
        """Computes the cross-attention of tokens generated before. Returns it with the number of opening tokens."""
        opening = (*options.before, *self._tokens.opening(language, options.task))
        hearing = Hearing(window, len(options.before), aligns=True)
        # One place of the context is left for the token that the engine must generate.
        given = (*opening, *tokens)[: self._most - 1]
        return await self._run(hearing, given, _ONE, deadline, timed=False), len(opening)

    async def _run(
        self,
        hearing: Hearing,
        opening: Sequence[int],
        options: GenerationOptions,
        deadline: float | None,
        *,
        timed: bool,
    ) -> WindowReadings:
        rules = replace(self._defaults.rules, timestamps=self._tokens.times if timed else None)
        defaults = replace(self._defaults, decoder_start_ids=tuple(opening), rules=rules)
        ask = GenerationAsk(
            prompt_token_ids=self._source, options=options, defaults=defaults, heard=hearing, deadline=deadline,
            field="audio",
        )  # fmt: skip
        generation = await self._generator.start(ask)
        candidates, times = await read_candidates(generation.stream, self._defaults.end_token_ids)
        assert hearing.start is not None
        return WindowReadings(candidates, hearing.start, hearing.attention, times.queue, times.compute)
