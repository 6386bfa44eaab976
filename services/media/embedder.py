"""The verbs EmbedImage and EmbedAudio."""

from collections.abc import Sequence
from typing import Any

import torch

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.pooling import normalized
from services.engine.joint import JointModel, TextInputs
from services.media.ask import EmbedAsk, Embedded
from services.media.media_list import MediaList, ReadMedia


class MediaEmbedder:
    """Embeds batches of media, and of texts where the model knows both; a batch is done whole or not at all."""

    def __init__(self, pipeline: Pipeline, media: MediaList, width: int, joint: JointModel | None = None) -> None:
        """Makes one for vectors of `width` numbers."""
        self._pipeline = pipeline
        self._media = media
        self._width = width
        self._joint = joint

    async def embed(self, ask: EmbedAsk) -> Answer[Embedded]:
        """Returns the vectors of each of the media and of each text.

        Raises:
            InvalidArgument: there are none or too many, some are wrong, or an option does not fit the model.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: EmbedAsk) -> Prepared[Embedded]:
        wrong = [*ask.input.violations]
        dimensions = ask.dimension_count
        if dimensions is not None and not 1 <= dimensions <= self._width:
            wrong.append(Violation("dimension_count", f"must be in [1, {self._width}], not {dimensions}"))
        count, most, field = len(ask.input.media), self._media.most, self._media.field
        read, texts = ReadMedia(()), list[TextInputs]()
        if 1 <= count + len(ask.texts) <= most:
            texts = self._read(ask.texts, wrong)
            read = self._media.items(ask.input, wrong, fewest=0)
        else:
            all_together = count + len(ask.texts)
            wrong.append(Violation(field, f"and texts together must be 1 to {most} items, not {all_together}"))
        if wrong:
            raise InvalidArgument(wrong)
        items = [*read.items, *(Item(text, text.length, text.kind) for text in texts)]

        def finish(outputs: Sequence[Any]) -> Embedded:
            vectors = torch.stack([output["vector"] for output in outputs])[:, :dimensions]
            made = (normalized(vectors) if ask.normalize else vectors).numpy()
            return Embedded(made[:count], made[count:])

        tokens = sum(text.token_count for text in texts)
        return Prepared(items, finish, tokens, read.images, read.audio_seconds)

    def _read(self, texts: Sequence[str], wrong: list[Violation]) -> list[TextInputs]:
        """Returns the model's inputs of each valid text. Adds what is wrong with others to `wrong`."""
        if self._joint is None:
            noun = self._media.noun
            alone = f"are embedded by models that compare {noun} with text; this one reads {noun} alone"
            wrong += [Violation("texts", alone)] if texts else []
            return []
        found: list[TextInputs] = []
        for i, text in enumerate(texts):
            if not text:
                wrong.append(Violation(f"texts[{i}]", "must not be empty"))
                continue
            try:
                found.append(self._joint.read(text, field=f"texts[{i}]"))
            except InvalidArgument as error:
                wrong += error.violations
        return found
