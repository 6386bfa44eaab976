"""AnswerQuestion through gateway and client, against a plain search over the model's own outputs in float32.

transformers 5 has no pipeline for it. The windows are its tokenizers' (`stride`), the scores those of the pipeline of
version 4: in each window a softmax over the tokens of the context and the first token, which stands for no answer; an
answer's score is the product of its first and last token's. The text is taken to the ends of words.
"""

import asyncio
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from tests.drawn import drawn
from tests.e2e.stack import running_stack
from tests.e2e.understanding import TOLERANCE, random_texts, violations
from tests.own_models import own
from tests.tiny.encoders import CONTEXT, write_encoder

QUESTION = "who wrote the first program"
EAST = 0x2E80
"""From here on, scripts have no spaces between words (of those in the tests)."""


@dataclass
class Found:
    """Every answer there is, by its text, and the chance that there is none."""

    scores: dict[str, float]
    none: float

    def best(self, count: int) -> list[tuple[str, float]]:
        return sorted(self.scores.items(), key=lambda pair: -pair[1])[:count]


def piece(context: str, start: int, end: int) -> str:
    def joined(place: int) -> bool:
        pair = context[place - 1 : place + 1]
        return 0 < place < len(context) and all(unicodedata.category(c)[0] in "LMN" and ord(c) < EAST for c in pair)

    while joined(start):
        start -= 1
    while joined(end):
        end += 1
    return context[start:end].strip()


def search(folder: Path, question: str, context: str, overlap: int, most: int) -> Found:
    model = own(AutoModelForQuestionAnswering, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    windows = tokenizer(
        question, context, truncation="only_second", max_length=CONTEXT, stride=overlap,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    found = Found({}, 1.0)
    for number, ids in enumerate(windows.input_ids):
        types = (
            {"token_type_ids": torch.tensor([windows.token_type_ids[number]])} if "token_type_ids" in windows else {}
        )
        with torch.inference_mode():
            output = model(input_ids=torch.tensor([ids]), **types)
        places = [place for place, of in enumerate(windows.sequence_ids(number)) if of == 1]
        kept = torch.tensor([0, *places])
        firsts, lasts = output.start_logits[0, kept].softmax(-1), output.end_logits[0, kept].softmax(-1)
        found.none = min(found.none, float(firsts[0] * lasts[0]))
        offsets = windows.offset_mapping[number]
        for i, first in enumerate(places):
            for j, last in enumerate(places[i : i + most], i):
                text = piece(context, offsets[first][0], offsets[last][1])
                if text:
                    found.scores[text] = max(found.scores.get(text, 0.0), float(firsts[i + 1] * lasts[j + 1]))
    return found


def equal(answer: pb.AnswerQuestionResponse, context: str, found: Found, count: int) -> None:
    best = found.best(count)
    assert [found.text for found in answer.answers] == [text for text, _ in best]
    np.testing.assert_allclose([one.score for one in answer.answers], [score for _, score in best], atol=TOLERANCE)
    assert all(context[one.start : one.end] == one.text for one in answer.answers)


@pytest.mark.parametrize("name", drawn(["bert", "roberta", "longformer", "deberta", "albert", "modernbert"], 3))
async def test_answers_are_the_best_stretches_of_all_windows(tmp_path: Path, name: str) -> None:
    folder = write_encoder(tmp_path / name, name, AutoModelForQuestionAnswering)
    short, long = random_texts(8, words=7, seed=5), " ".join(random_texts(45, seed=6))
    async with running_stack(folder) as stack:
        requests = [
            *(pb.AnswerQuestionRequest(question=QUESTION, context=context, answer_count=5) for context in short),
            pb.AnswerQuestionRequest(question=QUESTION, context=long),
            pb.AnswerQuestionRequest(
                question=QUESTION, context=long, answer_count=20, max_answer_token_count=7, overlap_token_count=9
            ),
        ]
        *answers, default, chosen = await asyncio.gather(*map(stack.client.text.answer_question, requests))
        for context, answer in zip(short, answers, strict=True):
            equal(answer, context, search(folder, QUESTION, context, CONTEXT // 4, 30), 5)
            assert not answer.HasField("no_answer_score")
        held = CONTEXT - default_tokens(folder)
        equal(default, long, search(folder, QUESTION, long, min(CONTEXT // 4, held // 2), 30), 1)
        equal(chosen, long, search(folder, QUESTION, long, 9, 7), 20)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_ANSWER_QUESTION, models.TASK_TOKENIZE]


def default_tokens(folder: Path) -> int:
    """Returns how many tokens of a window are not the context's."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return sum(of != 1 for of in tokenizer(QUESTION, "dog").sequence_ids())


async def test_no_answer_is_found_where_the_model_finds_none(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModelForQuestionAnswering)
    contexts = random_texts(30, words=3, seed=2)
    async with running_stack(folder) as stack:
        requests = [
            pb.AnswerQuestionRequest(question=QUESTION, context=context, answer_count=4, allow_no_answer=True)
            for context in contexts
        ]
        answers = await asyncio.gather(*map(stack.client.text.answer_question, requests))
        for context, answer in zip(contexts, answers, strict=True):
            found = search(folder, QUESTION, context, CONTEXT // 4, 30)
            assert answer.no_answer_score == pytest.approx(found.none, abs=TOLERANCE)
            kept = [text for text, score in found.best(4) if score >= found.none]
            assert [one.text for one in answer.answers] == kept
        assert {len(answer.answers) for answer in answers} >= {0, 4}, "the test needs both kinds"


async def test_contexts_of_every_kind_are_answered_or_refused_and_harm_nobody(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "roberta", "roberta", AutoModelForQuestionAnswering)
    huge = "the lazy dog over " * 1500
    long_question = "the lazy dog over " * 10
    async with running_stack(folder) as stack:
        ask = stack.client.text.answer_question

        async def refused(**request: Any) -> list[str]:
            return list(await violations(ask, pb.AnswerQuestionRequest(**request)))

        odd = ["[SEP] </s> fox", "🙂🙂", "東京の犬", "e\u0301", "a" * 300]
        neighbour, big, many, *rest = await asyncio.gather(
            ask(pb.AnswerQuestionRequest(question="a", context="fox")),
            ask(pb.AnswerQuestionRequest(question="a", context=huge, answer_count=3)),
            ask(pb.AnswerQuestionRequest(question="a", context="a b c", answer_count=1000, max_answer_token_count=99)),
            *(ask(pb.AnswerQuestionRequest(question=" ", context=context)) for context in odd),
            refused(),
            refused(question="a", context="  \n"),
            refused(question="a", context="b", answer_count=0, max_answer_token_count=-1, overlap_token_count=-1),
            refused(question="a", context="b", overlap_token_count=CONTEXT // 2),
            refused(question=long_question, context="b"),
        )
        equal(neighbour, "fox", search(folder, "a", "fox", 16, 30), 1)
        assert len({answer.text for answer in big.answers}) == 3
        assert [answer.text for answer in many.answers] == [
            text for text, _ in search(folder, "a", "a b c", 16, 99).best(1000)
        ]
        for context, answer in zip(odd, rest, strict=False):
            equal(answer, context, search(folder, " ", context, 16, 30), 1)
        assert rest[len(odd) :] == [
            ["question", "context"],
            ["context"],
            ["max_answer_token_count", "answer_count", "overlap_token_count"],
            ["overlap_token_count"],
            ["question"],
        ]


async def test_a_context_may_be_as_long_as_what_may_wait(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModelForQuestionAnswering)
    async with running_stack(folder, max_queued_tokens=3000) as stack:
        ask = stack.client.text.answer_question
        for context, told in (("dog " * 5000, "tokens in windows"), ("dog " * 6001, "24004 characters")):
            request = pb.AnswerQuestionRequest(question="a", context=context)
            assert told in (await violations(ask, request))["context"]
        assert (await ask(pb.AnswerQuestionRequest(question="a", context="dog " * 1500))).answers[0].text
