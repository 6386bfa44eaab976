"""The verb Generate: turns a request into a running stream of the engine."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from sensorium.errors import InvalidArgument, Violation
from services.engine.generation.output.detokenizer import IncrementalDetokenizer
from services.engine.generation.output.output import OutputBuilder
from services.engine.generation.output.token_texts import TokenTexts
from services.engine.generation.requests.request import GenerationRequest, Work
from services.engine.generation.requests.resolution import (
    DeliveredTokens,
    ModelDefaults,
    TokenizedInput,
    resolve,
    resolve_beams,
    resolve_candidates,
)
from services.engine.generation.requests.validation import violations
from services.engine.structure.compiler import Found
from services.engine.structure.format import StructureFormat
from services.engine.structure.structure import Structure, StructureFailed
from services.generation.answer_parsing import AnswerParsing
from services.generation.ask import Generation, GenerationAsk, ParsedAnswer
from services.generation.generator_parts import GeneratorParts


@dataclass(frozen=True)
class Prepared:
    """A request, and what of its generation is known before."""

    request: GenerationRequest
    outputs: list[OutputBuilder]
    rendered: str | None
    parsed: tuple[ParsedAnswer, ...]


class TextGenerator:
    """Prepares requests and hands them to the engine."""

    def __init__(self, parts: GeneratorParts, adapter: str = "") -> None:
        """`adapter` is the name of the adapter of all its requests; empty: none."""
        self._threads = parts.threads
        self._encoder = parts.encoder
        self._token_texts = TokenTexts(parts.encoder)
        self._defaults = parts.defaults
        self._limits = parts.limits
        self._parsing = AnswerParsing(parts.format, self._token_texts)
        self._adapter = adapter

    async def start(self, ask: GenerationAsk) -> Generation:
        """Accepts the request and returns its stream.

        Raises:
            InvalidArgument: holds every violation.
            QueueFull, DeadlineExceeded, ModelNotReady: see Admission.enter.
        """
        if ask.is_light and self._encoder.is_fast:
            return self._submit(self._threads.preprocessing.at_once(self._prepare_all, lambda: [ask], (None, ())))[0]
        return (await self.start_all(lambda: [ask], ask.options.structured_output))[0]

    async def start_all(
        self, make: Callable[[], list[GenerationAsk]], structured: StructureFormat | None
    ) -> list[Generation]:
        """Accepts the requests that `make` returns, all or none; `make` is run in a preprocessing thread.

        `structured` is the output structure of all of them. Raises what `start` raises, and what `make` raises.
        """
        found = await self._threads.structures.find(structured)
        return self._submit(await self._threads.preprocessing.run(self._prepare_all, make, found))

    def _submit(self, prepared: list[Prepared]) -> list[Generation]:
        started: list[Generation] = []
        try:
            for each in prepared:
                request = each.request
                started.append(
                    Generation(
                        self._threads.engine.submit(request, *each.outputs),
                        request.input_token_count,
                        request.sampling.seed,
                        each.rendered,
                        request.prompt_logprob_count is not None,
                        each.parsed,
                    )
                )
        except BaseException:
            for generation in started:
                generation.stream.cancel()
            raise
        return started

    def _prepare_all(self, make: Callable[[], list[GenerationAsk]], found: Found) -> list[Prepared]:
        began, work = time.monotonic(), Work()
        structure, uncompiled = found
        prepared: list[Prepared] = []
        wrong: dict[Violation, None] = {}  # each violation once
        for ask in make():
            ask = replace(ask, violations=(*ask.violations, *uncompiled))
            try:
                prepared.append(self._prepare(ask, structure, began, ask.work or work))
            except InvalidArgument as error:
                wrong |= dict.fromkeys(error.violations)
        if wrong:
            raise InvalidArgument(wrong)
        return prepared

    def _prepare(self, ask: GenerationAsk, structure: Structure | None, began: float, work: Work) -> Prepared:
        options, defaults, limits = ask.options, ask.defaults or self._defaults, self._limits
        wrong = [*ask.violations, *self._parsing.violations(ask)]
        tokens, rendered = None, None
        try:
            rendered, tokens = self._tokens(ask, defaults)
        except InvalidArgument as error:
            wrong += error.violations
        wrong += violations(options, defaults, limits, tokens)
        if wrong or tokens is None:
            raise InvalidArgument(wrong)
        bad_words, source = self._bad_words(options.bad_words), tuple(tokens.source or ())
        sampling, stopping = resolve(options, defaults, limits, len(tokens.prompt), bad_words, len(source))
        beams = resolve_beams(options, defaults)
        count = resolve_candidates(options, defaults, beams)
        request = GenerationRequest(
            prompt_token_ids=tuple(tokens.prompt),
            sampling=sampling,
            stopping=stopping,
            candidate_count=count,
            beams=beams,
            delivered=_by_candidate(tokens.delivered, count),
            skip_special_tokens=options.skip_special_tokens and not ask.parsed,
            logprob_count=options.logprob_count,
            prompt_logprob_count=options.prompt_logprob_count,
            priority=options.priority,
            deadline=ask.deadline,
            preprocess_seconds=time.monotonic() - began,
            cache_salt=ask.cache_salt,
            source_token_ids=source,
            structure=structure,
            lookup=options.lookup,
            adapter=self._adapter,
            work=work,
            media=tokens.media,
        )
        outputs = self._outputs(request, tokens.delivered)
        parsed = self._parsing.answers(ask, rendered or "", request, partial(self._output, request))
        return Prepared(request, outputs, rendered if ask.return_rendered_prompt else None, parsed)

    def _outputs(self, request: GenerationRequest, delivered: tuple[DeliveredTokens, ...]) -> list[OutputBuilder]:
        """Returns a builder for each candidate, which has replayed the tokens that the caller already holds."""
        outputs = [self._output(request, candidate) for candidate in range(request.candidate_count)]
        # Which beams become outputs is known at the end: delivered tokens are compared then.
        for i, known in enumerate(() if request.beams else delivered):
            contradicted = _replay(
                outputs[known.candidate_index], known.token_ids, f"delivered[{i}]", request.structure
            )
            if contradicted:
                raise InvalidArgument([contradicted])
        return outputs

    def _output(self, request: GenerationRequest, candidate: int) -> OutputBuilder:
        prompt, special = request.prompt_token_ids, request.skip_special_tokens
        return OutputBuilder(
            IncrementalDetokenizer(self._encoder, prompt, skip_special_tokens=special),
            request.stopping,
            self._token_texts,
            candidate,
            request.structure,
            request.forced_count,
        )

    def _bad_words(self, texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        """Returns the token ids of each text, by itself and after a space, as these differ in many vocabularies.

        Raises:
            InvalidArgument: a text has no tokens.
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
        """Returns the rendered prompt, if it is text, and its tokens; None where the request has no prompt."""
        rendered, ids, field = None, ask.prompt_token_ids, ask.field
        if ask.chat is not None:
            # The template writes the special tokens itself.
            rendered, field = self._encoder.render(ask.chat), "chat"
            ids = self._encoder.encode(rendered, field=field, add_special_tokens=False)
            rendered = self._encoder.shown(rendered)
        elif ask.prompt is not None:
            rendered, field = ask.prompt, "prompt"
            ids = self._encoder.encode(rendered, field=field) if rendered else []
        if ids is None:
            return None, None
        if defaults.decoder_start_ids:
            starts = list(defaults.decoder_start_ids)
            return rendered, TokenizedInput(starts, ask.delivered, field, source=ids, media=ask.heard)
        return rendered, TokenizedInput(ids, ask.delivered, field, media=ask.heard)


def _by_candidate(delivered: tuple[DeliveredTokens, ...], count: int) -> tuple[tuple[int, ...], ...]:
    known = {one.candidate_index: tuple(one.token_ids) for one in delivered}
    return tuple(known.get(i, ()) for i in range(count))


def _replay(output: OutputBuilder, delivered: list[int], place: str, structure: Structure | None) -> Violation | None:
    """Replays the tokens that a caller holds, from field `place`. Returns what is wrong with them, or None."""
    try:
        taken = output.replay(tuple(delivered))
    except StructureFailed as failed:
        assert structure
        return Violation(structure.field, str(failed))
    if taken == len(delivered):
        return None
    words = "stands behind a token that ends the output" if output.finish else "contradicts the structured output"
    return Violation(f"{place}.token_ids[{taken}]", words)
