"""The verb Generate: from what a caller asked to a running stream of the engine."""

import time

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.detokenizer import IncrementalDetokenizer
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.output import OutputBuilder
from services.engine.generation.request import GenerationRequest
from services.engine.generation.resolution import GenerationLimits, ModelDefaults, TokenizedInput, resolve
from services.engine.generation.token_texts import TokenTexts
from services.engine.generation.validation import violations
from services.engine.preprocessing import Preprocessing
from services.engine.prompting import PromptEncoder
from services.engine.structure.compiler import Found, StructureCompiler
from services.engine.structure.structure import Structure, StructureFailed
from services.text.ask import Generation, GenerationAsk


class TextGenerator:
    """Prepares requests and hands them to the engine."""

    def __init__(
        self,
        engine: GenerationEngine,
        encoder: PromptEncoder,
        defaults: ModelDefaults,
        limits: GenerationLimits,
        preprocessing: Preprocessing,
        structures: StructureCompiler,
    ) -> None:
        self._engine = engine
        self._encoder = encoder
        self._token_texts = TokenTexts(encoder)
        self._defaults = defaults
        self._limits = limits
        self._preprocessing = preprocessing
        self._structures = structures

    async def start(self, ask: GenerationAsk) -> Generation:
        """Accepts the request and returns its stream.

        Raises:
            InvalidArgument: holds every violation.
            QueueFull, DeadlineExceeded, ModelNotReady: see Admission.enter.
        """
        found = await self._structures.find(ask.options.structured_output)
        request, output, rendered = await self._preprocessing.run(self._prepare, ask, found)
        stream = self._engine.submit(request, output)
        return Generation(stream, len(request.prompt_token_ids), request.sampling.seed, rendered)

    def _prepare(self, ask: GenerationAsk, found: Found) -> tuple[GenerationRequest, OutputBuilder, str | None]:
        began = time.monotonic()
        structure, uncompiled = found
        wrong = [*ask.violations, *uncompiled]
        tokens, rendered = None, None
        try:
            rendered, tokens = self._tokens(ask)
        except InvalidArgument as error:
            wrong += error.violations
        wrong += violations(ask.options, self._defaults, self._limits, tokens)
        if wrong or tokens is None:
            raise InvalidArgument(wrong)
        bad_words = self._bad_words(ask.options.bad_words)
        sampling, stopping = resolve(ask.options, self._defaults, self._limits, len(tokens.prompt), bad_words)
        skip_special = ask.options.skip_special_tokens
        detokenizer = IncrementalDetokenizer(self._encoder, tokens.prompt, skip_special_tokens=skip_special)
        output = OutputBuilder(detokenizer, stopping, self._token_texts, structure)
        if contradicted := _replay(output, ask.delivered, structure):
            raise InvalidArgument([contradicted])
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
            structure=structure,
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

    def _tokens(self, ask: GenerationAsk) -> tuple[str | None, TokenizedInput | None]:
        """Returns the rendered prompt, if there is text, and its tokens; nothing where the conversion refused both."""
        if ask.chat is not None:
            rendered = self._encoder.render(ask.chat)
            # The template writes the special tokens itself.
            ids = self._encoder.encode(rendered, field="chat", add_special_tokens=False)
            return rendered, TokenizedInput(ids, ask.delivered, "chat")
        if ask.prompt is not None:
            ids = self._encoder.encode(ask.prompt, field="prompt") if ask.prompt else []
            return ask.prompt, TokenizedInput(ids, ask.delivered, "prompt")
        if ask.prompt_token_ids is not None:
            return None, TokenizedInput(ask.prompt_token_ids, ask.delivered, "prompt_token_ids.ids")
        return None, None


def _replay(output: OutputBuilder, delivered: list[int], structure: Structure | None) -> Violation | None:
    """Gives an output the tokens a caller holds. Returns what is wrong with them."""
    try:
        taken = output.replay(tuple(delivered))
    except StructureFailed as failed:
        assert structure
        return Violation(structure.field, str(failed))
    if taken == len(delivered):
        return None
    words = "stands behind the end of the output" if output.finish else "contradicts the structured output"
    return Violation(f"delivered[0].token_ids[{taken}]", words)
