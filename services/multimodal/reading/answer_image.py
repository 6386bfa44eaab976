"""The verb AnswerImageQuestion for models that classify over a fixed list of answers, such as ViLT."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.reader import TextReader, embedded_tokens
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs, ModelInputs
from services.engine.labels.label_scores import ranked
from services.engine.language.texts import Truncation
from services.image_field import ImageField
from services.multimodal.ask import ChosenAnswer, ImageQuestionAsk
from services.multimodal.question import reading_violations

_PADDED_TO = 8
"""Questions are padded to multiples of this many tokens, so that questions of similar length share a batch."""


def compute_answers(loaded: LoadedVisionModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `logits`, `[items, answers]`. For ImageRunner."""
    return {"logits": loaded.model(**batch).logits}


@dataclass(frozen=True, eq=False)
class QuestionInputs(ModelInputs):
    """The model's inputs for a question and an image."""

    token_count: int
    """Tokens of the question, without padding."""


class QuestionReader:
    """Combines the inputs of a question and an image. Thread-safe."""

    def __init__(self, loaded: LoadedVisionModel) -> None:
        assert loaded.tokenizer is not None
        self._reader = TextReader(
            loaded.tokenizer, loaded.context_tokens, advice="shorten it", vocabulary_size=embedded_tokens(loaded.model)
        )
        self._pad_id: Any = loaded.tokenizer.pad_token_id or 0
        self._patch: int = getattr(loaded.config, "patch_size", 1)

    def check_sides(self, image: ImageInputs) -> list[Violation]:
        """Returns what is wrong with an image: less than a patch, where the files forbid to resize it."""
        if min(image.tensors["pixel_values"].shape[-2:]) >= self._patch:
            return []
        said = f"is {image.width} × {image.height} pixels; the model reads sides of at least {self._patch}"
        return [Violation("image", said)]

    def read(self, question: str, image: ImageInputs) -> QuestionInputs:
        """Returns the model's inputs.

        Raises:
            InvalidArgument: the question is longer than the model's context.
        """
        tokens = self._reader.read(question, Truncation.NONE, field="question")
        count = len(tokens)
        padding = min(-count % _PADDED_TO, self._reader.context_tokens - count)
        columns = {
            "input_ids": (tokens.ids, self._pad_id),
            "token_type_ids": (tokens.type_ids or [0] * count, 0),
            "attention_mask": ([1] * count, 0),
        }
        texts = {name: torch.tensor([*values, *[filler] * padding]) for name, (values, filler) in columns.items()}
        return QuestionInputs({**texts, **image.tensors}, count)


class ImageQuestionAnswerer:
    """Scores the model's answers. Each score is a sigmoid, as in transformers' pipeline: several may be right."""

    def __init__(
        self, pipeline: Pipeline, questions: QuestionReader, images: ImageField, answers: Sequence[str]
    ) -> None:
        """`answers` are the model's answers by index."""
        self._pipeline = pipeline
        self._questions = questions
        self._images = images
        self._answers = answers

    async def answer(self, ask: ImageQuestionAsk) -> Answer[Sequence[ChosenAnswer]]:
        """Returns the best answers, the highest score first; one unless the request asks for more.

        Raises:
            InvalidArgument: the image or the question is invalid, or an option is out of range or not supported by
                such models.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.deadline)

    def _prepare(self, ask: ImageQuestionAsk) -> Prepared[Sequence[ChosenAnswer]]:
        wrong = [*ask.violations, *reading_violations(ask)]
        image = self._images.read(ask.image, wrong)
        wrong += self._questions.check_sides(image) if image is not None else []
        read: QuestionInputs | None = None
        try:
            read = self._questions.read(ask.question, image or ImageInputs({}, 1, 1))
        except InvalidArgument as error:
            wrong += error.violations
        if wrong or read is None:
            raise InvalidArgument(wrong)
        item = Item(read, read.length, read.kind)
        return Prepared([item], lambda outputs: self._finish(ask, outputs[0]), read.token_count, 1)

    def _finish(self, ask: ImageQuestionAsk, output: dict[str, Tensor]) -> list[ChosenAnswer]:
        scores: list[float] = output["logits"].sigmoid().tolist()
        most = 1 if ask.answer_count is None else ask.answer_count
        return [ChosenAnswer(found.label, found.score) for found in ranked(self._answers, scores, most)]
