"""The verb Generate: from what a caller asked to a running stream of the engine."""

import time
from collections.abc import Callable

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.detokenizer import IncrementalDetokenizer
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.output import OutputBuilder
from services.engine.generation.request import GenerationRequest, Work
from services.engine.generation.resolution import GenerationLimits, ModelDefaults, TokenizedInput, resolve
from services.engine.generation.token_texts import TokenTexts
from services.engine.generation.validation import violations
from services.engine.preprocessing import Preprocessing
from services.engine.prompting import PromptEncoder
from services.text.ask import Generation, GenerationAsk

Prepared = tuple[GenerationRequest, OutputBuilder, str | None]
"""A request with what builds its output and the prompt as rendered."""


class TextGenerator:
    """Prepares requests and hands them to the engine."""

    def __init__(
        self,
        engine: GenerationEngine,
        encoder: PromptEncoder,
        defaults: ModelDefaults,
        limits: GenerationLimits,
        preprocessing: Preprocessing,
    ) -> None:
        self._engine = engine
        self._encoder = encoder
        self._token_texts = TokenTexts(encoder)
        self._defaults = defaults
        self._limits = limits
        self._preprocessing = preprocessing

    async def start(self, ask: GenerationAsk) -> Generation:
        """Accepts the request and returns its stream.

        Raises:
            InvalidArgument: holds every violation.
            QueueFull, DeadlineExceeded, ModelNotReady: see Admission.enter.
        """
        return (await self.start_all(lambda: [ask]))[0]

    async def start_all(self, make: Callable[[], list[GenerationAsk]]) -> list[Generation]:
        """Accepts what `make` returns, which runs where texts are tokenized: all requests or none.

        Raises what `start` raises, and what `make` raises.
        """
        prepared = await self._preprocessing.run(self._prepare_all, make)
        started: list[Generation] = []
        try:
            for request, output, rendered in prepared:
                stream = self._engine.submit(request, output)
                started.append(Generation(stream, request.input_token_count, request.sampling.seed, rendered))
        except BaseException:
            for generation in started:
                generation.stream.cancel()
            raise
        return started

    def _prepare_all(self, make: Callable[[], list[GenerationAsk]]) -> list[Prepared]:
        began, work = time.monotonic(), Work()
        prepared: list[Prepared] = []
        wrong: dict[Violation, None] = {}  # what is wrong with all is told once
        for ask in make():
            try:
                prepared.append(self._prepare(ask, began, work))
            except InvalidArgument as error:
                wrong |= dict.fromkeys(error.violations)
        if wrong:
            raise InvalidArgument(wrong)
        return prepared

    def _prepare(self, ask: GenerationAsk, began: float, work: Work) -> Prepared:
        defaults = ask.defaults or self._defaults
        wrong = list(ask.violations)
        tokens, rendered = None, None
        try:
            rendered, tokens = self._tokens(ask, defaults)
        except InvalidArgument as error:
            wrong += error.violations
        wrong += violations(ask.options, defaults, self._limits, tokens)
        if wrong or tokens is None:
            raise InvalidArgument(wrong)
        bad_words = self._bad_words(ask.options.bad_words)
        sampling, stopping = resolve(ask.options, defaults, self._limits, len(tokens.prompt), bad_words)
        skip_special = ask.options.skip_special_tokens
        detokenizer = IncrementalDetokenizer(self._encoder, tokens.prompt, skip_special_tokens=skip_special)
        output = OutputBuilder(detokenizer, stopping, self._token_texts)
        replayed = output.replay(tuple(ask.delivered))
        if replayed < len(ask.delivered):
            place = f"delivered[0].token_ids[{replayed}]"
            raise InvalidArgument([Violation(place, "stands behind a token that ends the output")])
        request = GenerationRequest(
            prompt_token_ids=tuple(tokens.prompt),
            sampling=sampling,
            stopping=stopping,
            delivered_token_ids=tuple(ask.delivered),
            skip_special_tokens=skip_special,
            logprob_count=ask.options.logprob_count,
            priority=ask.options.priority,
            deadline=ask.deadline,
            preprocess_seconds=time.monotonic() - began,
            cache_salt=ask.cache_salt,
            source_token_ids=tuple(tokens.source or ()),
            work=work,
        )
        return request, output, rendered if ask.return_rendered_prompt else None

    def _bad_words(self, texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        """Returns the ids of each text as it stands and behind a space, which many vocabularies tell apart.

        Raises:
            InvalidArgument: a text comes to no token, so that nothing could be forbidden.
        """
        found: dict[tuple[int, ...], None] = {}
        for i, text in enumerate(texts):
            place = f"parameters.bad_words[{i}]"
            forms = [
                tuple(self._encoder.encode(form, field=place, add_special_tokens=False)) for form in (text, " " + text)
            ]
            if not forms[0]:
                raise InvalidArgument([Violation(place, "must come to at least one token")])
            found |= dict.fromkeys(forms)
        return tuple(found)

    def _tokens(self, ask: GenerationAsk, defaults: ModelDefaults) -> tuple[str | None, TokenizedInput | None]:
        """Returns the rendered prompt, if there is text, and its tokens; nothing where the conversion refused both."""
        rendered, ids, field = None, ask.prompt_token_ids, ask.field
        if ask.chat is not None:
            # The template writes the special tokens itself.
            rendered, field = self._encoder.render(ask.chat), "chat"
            ids = self._encoder.encode(rendered, field=field, add_special_tokens=False)
        elif ask.prompt is not None:
            rendered, field = ask.prompt, "prompt"
            ids = self._encoder.encode(rendered, field=field) if rendered else []
        if ids is None:
            return None, None
        if defaults.decoder_start_ids:
            return rendered, TokenizedInput(list(defaults.decoder_start_ids), ask.delivered, field, source=ids)
        return rendered, TokenizedInput(ids, ask.delivered, field)
