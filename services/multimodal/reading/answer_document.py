"""The verb AnswerDocumentQuestion for extractive models, which select the answer from the words of a page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.documents.answers import WindowWords, best_spans
from services.engine.documents.page import Box, PageReader, PageTokens, thousandths
from services.engine.encoders.windows import Window, room, windows
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ImageInputs, ModelInputs
from services.image_field import ImageField
from services.multimodal.ask import DocumentQuestionAsk, FoundAnswer
from services.multimodal.question import reading_violations

_OVERLAP = 256
_ANSWER_WORDS = 15
_CHARACTERS = 8
"""Requests with more characters than this per token of the limit are refused before they are tokenized."""


def compute_spans(loaded: LoadedVisionModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns `logits`, `[windows, 2, tokens]`: start and end logits of each text token. For ImageRunner."""
    output = loaded.model(**batch)
    length = batch["input_ids"].shape[1]  # LayoutLMv3 appends tokens of the image
    return {"logits": torch.stack([output.start_logits, output.end_logits], dim=1)[..., :length]}


@dataclass(frozen=True, eq=False)
class WindowInputs(ModelInputs):
    """The model's inputs for one window of the page's words."""

    @property
    def length(self) -> int:
        """Number of tokens, including padding."""
        return self.tensors["input_ids"].shape[0]


class DocumentReader:
    """Finds answers among the words of a page, reading the words in windows, each with the image of the page."""

    def __init__(self, pipeline: Pipeline, reader: PageReader, pages: ImageField, most_tokens: int) -> None:
        """`most_tokens` is the most that all windows of a request may hold together."""
        self._pipeline = pipeline
        self._reader = reader
        self._pages = pages
        self._most_tokens = most_tokens

    async def answer(self, ask: DocumentQuestionAsk) -> Answer[Sequence[FoundAnswer]]:
        """Returns the best answers, the highest score first. Scores are as in WindowWords.

        Raises:
            InvalidArgument: words are missing or too many, a word, its box or the page is invalid, the question leaves
                too little room for the words, or an option is out of range or not supported by such models.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.deadline)

    def _prepare(self, ask: DocumentQuestionAsk) -> Prepared[Sequence[FoundAnswer]]:
        wrong = [*ask.violations, *reading_violations(ask)]
        if ask.max_answer_words is not None and ask.max_answer_words < 1:
            wrong.append(Violation("max_answer_word_count", f"must be at least 1, not {ask.max_answer_words}"))
        image = None if ask.page is None else self._pages.read(ask.page, wrong, field="page")
        if ask.page is None and self._pages.reader.reads:
            wrong.append(Violation("page", "must be set: the model reads the page's image too"))
        boxes = self._boxes(ask, image, wrong)
        if not self._readable(ask, wrong):
            raise InvalidArgument(wrong)
        page = self._reader.read(ask.question, [word.text for word in ask.words])
        shown = self._windows(page, wrong)
        if wrong:
            raise InvalidArgument(wrong)
        shared = {} if image is None else image.tensors
        inputs = [WindowInputs({**self._reader.tensors(window, page, boxes), **shared}) for window in shown]
        items = [Item(each, each.length, each.kind) for each in inputs]
        total = sum(len(window.tokens) for window in shown)
        return Prepared(items, lambda outputs: _finish(ask, shown, page, outputs), total, 1 if shared else 0)

    def _boxes(self, ask: DocumentQuestionAsk, image: ImageInputs | None, wrong: list[Violation]) -> list[Box]:
        """Returns the words' boxes in thousandths of the page. If one is invalid, returns none and adds violations."""
        if ask.page_size is not None:
            width, height = ask.page_size
            if min(width, height) < 1:
                wrong.append(Violation("page_size", f"must be at least 1 × 1, not {width} × {height}"))
                return []
        elif image is not None:
            width, height = image.width, image.height
        else:
            if ask.page is None and ask.words:
                wrong.append(Violation("page_size", "must be set where there is no `page`"))
            return []
        before = len(wrong)
        for i, word in enumerate(ask.words):
            if (told := _misplaced(word.box, width, height)) is not None:
                wrong.append(Violation(f"words[{i}].box", told))
        if len(wrong) > before:
            return []
        return [thousandths(word.box, width, height) for word in ask.words if word.box is not None]

    def _readable(self, ask: DocumentQuestionAsk, wrong: list[Violation]) -> bool:
        """Returns whether question and words can be tokenized. If not, appends violations."""
        if not ask.words:
            wrong.append(Violation("words", "must be set: the model does not read them off the page's image itself"))
        empty = [i for i, word in enumerate(ask.words) if not word.text]
        wrong += [Violation(f"words[{i}].text", "must not be empty") for i in empty]
        count = len(ask.question) + sum(len(word.text) for word in ask.words)
        most = _CHARACTERS * self._most_tokens
        if count > most:
            wrong.append(Violation("words", f"come to {count} characters with the question, and at most {most} are "
                                   "read at once"))  # fmt: skip
        return bool(ask.words) and bool(ask.question.strip()) and not empty and count <= most

    def _windows(self, page: PageTokens, wrong: list[Violation]) -> list[Window]:
        """Returns windows over the words. Appends violations if there is nothing or too much to read."""
        most, held = self._reader.context_tokens, room(page.whole, self._reader.context_tokens, 1)
        if not page.word_of:
            wrong.append(Violation("words", "hold no text that could be an answer"))
        if 2 * held < most:
            # With few words in each window, a page would need a huge number of windows.
            wrong.append(
                Violation("question", f"has {most - held} tokens with the special ones, and may fill at most half of "
                          f"the model's context, which is {most}")
            )  # fmt: skip
        if not page.word_of or 2 * held < most:
            return []
        shown = windows(page.whole, most, min(_OVERLAP, most // 2, 2 * held // 3), 1)
        total = sum(len(window.tokens) for window in shown)
        if total > self._most_tokens:
            wrong.append(
                Violation("words", f"come to {total} tokens in windows, and no more than {self._most_tokens} may wait")
            )
        return shown


def _misplaced(box: tuple[float, float, float, float] | None, width: int, height: int) -> str | None:
    """Returns what is wrong with the box of a word on a page of this size, or None."""
    if box is None:
        return "must be set"
    left, upper, right, lower = box
    if not all(map(math.isfinite, box)):
        return "must be made of finite numbers"
    if not (0 <= left <= right <= width and 0 <= upper <= lower <= height):
        return (
            f"must lie within the page of {width} × {height}, its edges in order, not ({left:g}, {upper:g}) to "
            f"({right:g}, {lower:g})"
        )
    return None


def _finish(
    ask: DocumentQuestionAsk, shown: Sequence[Window], page: PageTokens, outputs: Sequence[Any]
) -> list[FoundAnswer]:
    has_null = page.whole.sequences[:1] == [None]
    scored = [
        WindowWords.of(
            torch.cat([output["logits"][:, : int(has_null)], output["logits"][:, window.places]], 1).T.numpy(),
            page.word_of[window.start : window.end],
            has_null=has_null,
        )
        for window, output in zip(shown, outputs, strict=True)
    ]
    most = _ANSWER_WORDS if ask.max_answer_words is None else ask.max_answer_words
    spans = best_spans(scored, most, 1 if ask.answer_count is None else ask.answer_count)
    texts = [word.text for word in ask.words]
    return [
        FoundAnswer(" ".join(texts[span.first : span.last + 1]), span.score, span.first, span.last) for span in spans
    ]
