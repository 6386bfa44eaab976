"""The verb Embed: vectors of texts, pooled and normalized as in sentence-transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.outputs import vectors_of
from services.engine.encoders.pooled_tokens import PooledTokens
from services.engine.encoders.pooling import Pooling, normalized, pooled, pooled_place
from services.engine.encoders.reader import TextReader
from services.engine.encoders.runner import TextBatch
from services.engine.encoders.sentences import SentenceRecipe
from services.engine.encoders.tokens import TextTokens
from services.engine.language.texts import are_short
from services.text.understanding.ask import EmbedAsk, Vectors
from services.text.understanding.text_list import TextList

_NUMBER_BYTES = 4


@dataclass(frozen=True, eq=False)
class _Embedded:
    """The model's inputs for one text, and how its vectors are made."""

    tokens: TextTokens
    pooling: Pooling
    skipped: int
    """Tokens at the start that are not pooled: those of the prompt."""
    dimension_count: int | None
    """Numbers of a vector that are kept; None: all."""
    normalize: bool


def read_vectors(recipe: SentenceRecipe, output: Any, _batch: TextBatch, items: Sequence[Item]) -> Sequence[Any]:
    """Returns a float32 array `[vectors, dimensions]` for each text, None if they are NaN. For TextRunner."""
    states = output.last_hidden_state.float()
    vectors = []
    for row, item in zip(states, items, strict=True):
        wanted: _Embedded = item.inputs
        made = pooled(row[wanted.skipped : len(wanted.tokens)], wanted.pooling)
        for layer in recipe.dense:
            made = layer(made)
        made = made[:, : wanted.dimension_count]
        vectors.append(normalized(made) if wanted.normalize else made)
    return vectors_of(vectors)


def focus_on_pooled(pooled_tokens: PooledTokens, _batch: TextBatch, items: Sequence[Item]) -> None:
    """Lets the last layer compute only the tokens that are pooled, if all of the batch are known. For TextRunner."""
    wanted: list[_Embedded] = [item.inputs for item in items]
    places = [pooled_place(of.pooling, len(of.tokens), of.skipped) for of in wanted]
    known = [place for place in places if place is not None]
    pooled_tokens.want(known if len(known) == len(places) else None)


class TextEmbedder:
    """Embeds the texts of a request. If one text is invalid, the whole request fails."""

    def __init__(
        self,
        pipeline: Pipeline,
        reader: TextReader,
        recipe: SentenceRecipe,
        texts: TextList,
        width: int,
        most_bytes: int,
    ) -> None:
        """`width` is the number of dimensions; `most_bytes` is the most that a response's vectors may take."""
        self._pipeline = pipeline
        self._reader = reader
        self._recipe = recipe
        self._texts = texts
        self._width = width
        self._most_bytes = most_bytes

    async def embed(self, ask: EmbedAsk) -> Answer[Sequence[Vectors]]:
        """Returns the vectors of each text.

        Raises:
            InvalidArgument: there are no texts or too many, some are empty or too long, or an option is invalid or
                not supported by the model.
        """
        light = self._reader.is_fast and ask.input.is_light and are_short(ask.prompt or "")
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline, light=light)

    def _prepare(self, ask: EmbedAsk) -> Prepared[Sequence[Vectors]]:
        wrong = [*ask.input.violations, *self._wrong_dimensions(ask)]
        prompt = self._prompt(ask, wrong)
        texts = [prompt + text if text else text for text in ask.input.texts]
        if self._recipe.lowercase:
            texts = [text.lower() for text in texts]
        tokens = self._texts.read(texts, ask.input.truncation, wrong, self._reader)
        pooling = self._recipe.pooling if ask.pooling is None else Pooling[ask.pooling]
        skipped = 0 if self._recipe.pools_prompt or not prompt else self._prompt_tokens(prompt)
        normalize = self._recipe.normalize if ask.normalize is None else ask.normalize
        total = sum(map(len, tokens))
        if pooling is Pooling.NONE and total * self._width * _NUMBER_BYTES > self._most_bytes:
            wrong.append(Violation("pooling", f"one vector for each of {total} tokens is more than a message may hold"))
        if wrong:
            raise InvalidArgument(wrong)
        items = [
            Item(_Embedded(text, pooling, min(skipped, len(text) - 1), ask.dimension_count, normalize), len(text))
            for text in tokens
        ]
        return Prepared(items, lambda outputs: [Vectors(values) for values in outputs], total)

    def _wrong_dimensions(self, ask: EmbedAsk) -> list[Violation]:
        wanted = ask.dimension_count
        if wanted is None or 1 <= wanted <= self._width:
            return []
        return [Violation("dimension_count", f"must be in [1, {self._width}], not {wanted}")]

    def _prompt(self, ask: EmbedAsk, wrong: list[Violation]) -> str:
        if ask.prompt is not None:
            return ask.prompt
        if ask.prompt_name is None:
            return self._recipe.default_prompt
        known = self._recipe.prompts
        if ask.prompt_name not in known:
            names = ", ".join(sorted(known)) or "none"
            wrong.append(Violation("prompt_name", f"is unknown: {ask.prompt_name!r}; the model's prompts are: {names}"))
        return known.get(ask.prompt_name, "")

    def _prompt_tokens(self, prompt: str) -> int:
        """Returns how many tokens the prompt takes at the start of a text, including special tokens before it."""
        alone = self._reader.encode(prompt)
        places = [place for place, of in enumerate(alone.sequences) if of is not None]
        return places[-1] + 1 if places else 0
