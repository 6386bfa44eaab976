"""The verb Generate: from what a caller asked to a running stream of the engine."""

import time

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.detokenizer import IncrementalDetokenizer
from services.engine.generation.engine import GenerationEngine
from services.engine.generation.output import OutputBuilder
from services.engine.generation.request import GenerationRequest
from services.engine.generation.resolution import (
    DeliveredTokens,
    GenerationLimits,
    ModelDefaults,
    TokenizedInput,
    resolve,
    resolve_beams,
    resolve_candidates,
)
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
        request, outputs, rendered = await self._preprocessing.run(self._prepare, ask, found)
        stream = self._engine.submit(request, *outputs)
        scores_prompt = request.prompt_logprob_count is not None
        return Generation(stream, len(request.prompt_token_ids), request.sampling.seed, rendered, scores_prompt)

    def _prepare(self, ask: GenerationAsk, found: Found) -> tuple[GenerationRequest, list[OutputBuilder], str | None]:
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
        beams = resolve_beams(ask.options, self._defaults)
        count = resolve_candidates(ask.options, self._defaults, beams)
        request = GenerationRequest(
            prompt_token_ids=tuple(tokens.prompt),
            sampling=sampling,
            stopping=stopping,
            candidate_count=count,
            beams=beams,
            delivered=_by_candidate(tokens.delivered, count),
            skip_special_tokens=ask.options.skip_special_tokens,
            logprob_count=ask.options.logprob_count,
            prompt_logprob_count=ask.options.prompt_logprob_count,
            priority=ask.options.priority,
            deadline=ask.deadline,
            preprocess_seconds=time.monotonic() - began,
            cache_salt=ask.cache_salt,
            structure=structure,
        )
        outputs = self._outputs(request, tokens.delivered)
        return request, outputs, rendered if ask.return_rendered_prompt else None

    def _outputs(self, request: GenerationRequest, delivered: tuple[DeliveredTokens, ...]) -> list[OutputBuilder]:
        """Returns a builder for each candidate, in the state in which the caller left it."""
        prompt, special = request.prompt_token_ids, request.skip_special_tokens
        outputs = [
            OutputBuilder(
                IncrementalDetokenizer(self._encoder, prompt, skip_special_tokens=special),
                request.stopping,
                self._token_texts,
                candidate,
                request.structure,
            )
            for candidate in range(request.candidate_count)
        ]
        # What becomes of beams is known at the end, where it is compared with the tokens delivered.
        for i, known in enumerate(() if request.beams else delivered):
            contradicted = _replay(
                outputs[known.candidate_index], known.token_ids, f"delivered[{i}]", request.structure
            )
            if contradicted:
                raise InvalidArgument([contradicted])
        return outputs

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


def _by_candidate(delivered: tuple[DeliveredTokens, ...], count: int) -> tuple[tuple[int, ...], ...]:
    known = {one.candidate_index: tuple(one.token_ids) for one in delivered}
    return tuple(known.get(i, ()) for i in range(count))


def _replay(output: OutputBuilder, delivered: list[int], place: str, structure: Structure | None) -> Violation | None:
    """Gives an output the tokens a caller holds, which came from `place`. Returns what is wrong with them."""
    try:
        taken = output.replay(tuple(delivered))
    except StructureFailed as failed:
        assert structure
        return Violation(structure.field, str(failed))
    if taken == len(delivered):
        return None
    words = "stands behind a token that ends the output" if output.finish else "contradicts the structured output"
    return Violation(f"{place}.token_ids[{taken}]", words)
