"""The verb AnswerQuestion: extractive question answering over a context that may be longer than the model's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sensorium.errors import InvalidArgument, Violation
from services.engine.batching.answer import Answer
from services.engine.batching.job import Item
from services.engine.batching.pipeline import Pipeline, Prepared
from services.engine.encoders.heads import Floats
from services.engine.encoders.outputs import apart
from services.engine.encoders.reader import TextReader
from services.engine.encoders.runner import TextBatch
from services.engine.encoders.tokens import TextTokens
from services.engine.encoders.windows import Window, own_tokens, room, windows
from services.engine.threads.turns import give_way
from services.text.extraction.answer_pieces import ContextPieces
from services.text.extraction.answer_spans import WindowScores, best_answers
from services.text.understanding.ask import AnswerQuestionAsk, FoundAnswers
from services.text.understanding.length_limit import LengthLimit
from services.text.understanding.text_list import collecting, require_at_least_one

_OVERLAP = 128
_ANSWER_TOKENS = 30


@dataclass(frozen=True, eq=False)
class _Searched:
    """The model's inputs for one window: question and part of the context."""

    tokens: TextTokens
    wanted: slice
    """The positions of the context's tokens."""
    has_null: bool
    """Whether the logits of the first token are needed too: it stands for "no answer"."""


def read_span_logits(output: Any, _batch: TextBatch, items: Sequence[Item]) -> Sequence[Floats | None]:
    """Returns start and end logits, `[tokens, 2]`, of the wanted tokens of each item, None if NaN. For TextRunner."""
    both = torch.stack([output.start_logits, output.end_logits], dim=-1)
    wanted: list[_Searched] = [item.inputs for item in items]
    rows = [torch.cat([row[: int(of.has_null)], row[of.wanted]]) for row, of in zip(both, wanted, strict=True)]
    return apart(rows, 0)


class QuestionAnswerer:
    """Finds answers in a context, reading it in overlapping windows."""

    def __init__(self, pipeline: Pipeline, reader: TextReader, most_tokens: int) -> None:
        """`most_tokens` is the most that all windows of a request may hold together."""
        self._pipeline = pipeline
        self._reader = reader
        self._limit = LengthLimit(most_tokens, "context")

    async def answer_question(self, ask: AnswerQuestionAsk) -> Answer[FoundAnswers]:
        """Returns the best answers, the highest score first. Scores are as in WindowScores, texts as in ContextPieces.

        Raises:
            InvalidArgument: question or context are empty, the question leaves too little room for the context, the
                context is blank or too long, or an option is out of range or not supported by the model.
        """
        return await self._pipeline.run(lambda: self._prepare(ask), ask.input.deadline)

    def _prepare(self, ask: AnswerQuestionAsk) -> Prepared[FoundAnswers]:
        wrong = list(ask.input.violations)
        require_at_least_one(wrong, max_answer_token_count=ask.max_answer_token_count, answer_count=ask.answer_count)
        (context,) = ask.input.texts
        wrong += [
            Violation(name, "must not be empty")
            for name, text in {"question": ask.question, "context": context}.items()
            if not text
        ]
        whole, overlap = self._read(ask, "".join(self._limit.readable([context], wrong)), wrong)
        give_way()
        pieces = ContextPieces(context, whole.select(own_tokens(whole, 1)))
        has_null = whole.sequences[:1] == [None]
        if len(whole) and pieces.is_blank and not any(violation.field == "context" for violation in wrong):
            wrong.append(Violation("context", "holds no text that could be an answer"))
        if ask.allow_no_answer and len(whole) and not has_null:
            wrong.append(Violation("allow_no_answer", "is not supported: the model has no token for `no answer`"))
        if wrong:
            raise InvalidArgument(wrong)
        shown = windows(whole, self._reader.context_tokens, overlap, 1)
        items = [Item(_Searched(window.tokens, window.places, has_null), len(window.tokens)) for window in shown]
        total = self._limit.require(items)
        return Prepared(items, lambda outputs: _finish(ask, shown, pieces, has_null, outputs), total)

    def _read(self, ask: AnswerQuestionAsk, context: str, wrong: list[Violation]) -> tuple[TextTokens, int]:
        """Returns the tokens of question and whole context together, and the overlap of the windows in tokens."""
        most = self._reader.context_tokens
        whole = TextTokens([], [], offsets=[])
        with collecting(wrong):
            question = self._reader.part(ask.question, None, field="question")
            whole = self._reader.pair(question, self._reader.whole_part(context, field="context"))
        held = room(whole, most, 1)
        if 2 * held < most:
            # With few context tokens in each window, a long context would need a huge number of windows.
            wrong.append(
                Violation("question", f"has {most - held} tokens with the special ones, and may fill at most half of "
                          f"the model's context, which is {most}")
            )  # fmt: skip
        overlap = ask.overlap_token_count
        if overlap is None:
            return whole, min(_OVERLAP, most // 4, held // 2)
        if not 0 <= 2 * overlap < most or 2 * overlap > held > 0:
            wrong.append(
                Violation("overlap_token_count", f"must be in [0, {max(min(most - 1, held) // 2, 0)}] beside this "
                          f"question, not {overlap}")
            )  # fmt: skip
        return whole, overlap


def _finish(
    ask: AnswerQuestionAsk,
    shown: Sequence[Window],
    pieces: ContextPieces,
    has_null: bool,
    outputs: Sequence[Floats],
) -> FoundAnswers:
    scored = [
        WindowScores.of(window.start, logits, has_null=has_null) for window, logits in zip(shown, outputs, strict=True)
    ]
    most_tokens = _ANSWER_TOKENS if ask.max_answer_token_count is None else ask.max_answer_token_count
    answers = best_answers(scored, pieces, most_tokens, 1 if ask.answer_count is None else ask.answer_count)
    if not ask.allow_no_answer:
        return FoundAnswers(answers, None)
    none = min(window.none for window in scored)
    return FoundAnswers([answer for answer in answers if answer.score >= none], none)
