"""ClassifyTokens through gateway and client, against transformers' pipeline in float32; texts longer than the context
against windows by hand.
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from tests.drawn import drawn
from tests.e2e.stack import running_stack
from tests.e2e.understanding import TOLERANCE, own_model, random_texts, transformers_pipeline, violations
from tests.tiny.encoders import CONTEXT, write_encoder

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
KIND = pb.ClassifyTokensRequest
AGGREGATIONS = {
    KIND.AGGREGATION_NONE: "none",
    KIND.AGGREGATION_SIMPLE: "simple",
    KIND.AGGREGATION_FIRST: "first",
    KIND.AGGREGATION_AVERAGE: "average",
    KIND.AGGREGATION_MAX: "max",
}


def tagger(folder: Path, name: str = "bert") -> Path:
    named = dict(enumerate(LABELS))
    label2id = {label: i for i, label in named.items()}
    return write_encoder(
        folder, name, AutoModelForTokenClassification, num_labels=len(LABELS), id2label=named, label2id=label2id
    )


def short_texts(folder: Path, count: int) -> list[str]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [text for text in random_texts(count, words=8) if len(tokenizer(text).input_ids) <= CONTEXT]


def equal(found: Any, expected: list[dict[str, Any]], text: str) -> None:
    wanted = [(entity.get("entity", entity.get("entity_group")), entity["start"], entity["end"]) for entity in expected]
    assert [(span.label, span.start, span.end) for span in found] == wanted, text
    np.testing.assert_allclose([span.score for span in found], [one["score"] for one in expected], atol=TOLERANCE)
    assert all(span.text == text[span.start : span.end] for span in found)


@pytest.mark.parametrize("name", drawn(["bert", "roberta", "electra", "modernbert", "deberta"], 2))
async def test_spans_of_every_aggregation_are_the_pipelines(tmp_path: Path, name: str) -> None:
    folder = tagger(tmp_path / name, name)
    texts = short_texts(folder, 25)
    assert len(texts) > 15
    reference = transformers_pipeline("token-classification", folder)
    async with running_stack(folder) as stack:
        label = stack.client.text.classify_tokens
        requests = [
            KIND(texts=texts, aggregation=aggregation, include_outside=outside)
            for outside in (True, False)
            for aggregation in AGGREGATIONS
        ]
        default, *answers = await asyncio.gather(*map(label, [KIND(texts=texts), *requests]))
        expected = [reference(texts, aggregation_strategy=name, ignore_labels=[""]) for name in AGGREGATIONS.values()]
        for request, answer, wanted in zip(requests, answers, expected * 2, strict=True):
            for text, spans, entities in zip(texts, answer.results, wanted, strict=True):
                kept = [
                    entity
                    for entity in entities
                    if request.include_outside or entity.get("entity", entity.get("entity_group")) != "O"
                ]
                equal(spans.spans, kept, text)
        simple = answers[len(AGGREGATIONS) + 1]
        for found, result in zip(default.results, simple.results, strict=True):
            assert [span.text for span in found.spans] == [span.text for span in result.spans]
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_CLASSIFY_TOKENS, models.TASK_TOKENIZE]
        assert list(info.labels) == LABELS


async def test_spans_below_a_score_are_left_out(tmp_path: Path) -> None:
    folder = tagger(tmp_path / "bert")
    texts = random_texts(10)
    async with running_stack(folder) as stack:
        label = stack.client.text.classify_tokens
        whole = await label(KIND(texts=texts))
        scores = sorted(span.score for result in whole.results for span in result.spans)
        middle = len(scores) // 2
        least = (scores[middle - 1] + scores[middle]) / 2
        some = await label(KIND(texts=texts, min_score=least))
        for left, result in zip(some.results, whole.results, strict=True):
            kept = [span for span in result.spans if span.score >= least]
            assert [(span.label, span.start) for span in left.spans] == [(span.label, span.start) for span in kept]
        assert sum(len(result.spans) for result in some.results) == len(scores) - middle


def probabilities_by_windows(folder: Path, text: str, overlap: int) -> torch.Tensor:
    """Returns `[tokens, labels]`: each token from the window in which the nearer edge is farthest from it."""
    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    first, last = tokenizer("").input_ids
    held = CONTEXT - 2
    best: dict[int, tuple[float, torch.Tensor]] = {}
    for start in range(0, max(len(ids) - overlap, 1), held - overlap):
        part = ids[start : start + held]
        with torch.inference_mode():
            logits = model(torch.tensor([[first, *part, last]])).logits[0, 1:-1]
        for i, row in enumerate(logits):
            left = i if start else float("inf")
            right = len(part) - 1 - i if start + held < len(ids) else float("inf")
            if start + i not in best or min(left, right) > best[start + i][0]:
                best[start + i] = min(left, right), row
    return torch.stack([best[i][1] for i in range(len(ids))]).softmax(-1)


@pytest.mark.parametrize("name", drawn(["bert", "roberta"], 1))
@pytest.mark.parametrize("overlap", [None, 0, 17, 31])
async def test_long_texts_are_read_in_windows(tmp_path: Path, name: str, overlap: int | None) -> None:
    folder = tagger(tmp_path / name, name)
    text = " ".join(random_texts(60, seed=3))
    chances = probabilities_by_windows(folder, text, CONTEXT // 8 if overlap is None else overlap)
    offsets = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False, return_offsets_mapping=True)
    async with running_stack(folder) as stack:
        request = KIND(
            texts=["the lazy dog", text],
            aggregation=KIND.AGGREGATION_NONE,
            include_outside=True,
            overlap_token_count=overlap,
        )
        answer = await stack.client.text.classify_tokens(request)
        spans = answer.results[1].spans
        assert [(span.start, span.end) for span in spans] == offsets.offset_mapping
        np.testing.assert_allclose([span.score for span in spans], chances.amax(-1), atol=TOLERANCE)
        assert [span.label for span in spans] == [LABELS[i] for i in chances.argmax(-1).tolist()]
        # What is joined is joined over the edges of windows.
        joined = await stack.client.text.classify_tokens(KIND(texts=[text], overlap_token_count=overlap))
        kinds = [LABELS[i].removeprefix("B-").removeprefix("I-") for i in chances.argmax(-1).tolist()]
        assert {span.label for span in joined.results[0].spans} == set(kinds) - {"O"}


async def test_texts_of_every_kind_are_answered_or_refused_and_harm_nobody(tmp_path: Path) -> None:
    folder = tagger(tmp_path / "bert")
    reference = transformers_pipeline("token-classification", folder)
    odd = ["   ", "\u0000\u0001\u200b\t", "[SEP] fox [MASK] [PAD]", "\u0301", "🙂" * 40]
    huge = "the lazy dog over " * 1500
    async with running_stack(folder) as stack:
        label = stack.client.text.classify_tokens

        async def refused(request: Any) -> list[str]:
            return list(await violations(label, request))

        strange, long, neighbour, *found = await asyncio.gather(
            label(KIND(texts=odd, include_outside=True)),
            label(KIND(texts=[huge], include_outside=True, aggregation=KIND.AGGREGATION_NONE)),
            label(KIND(texts=["the lazy dog"] * 256)),
            refused(KIND(texts=["", "a"], min_score=1.5, overlap_token_count=CONTEXT // 2, aggregation=77)),
            refused(KIND(texts=["a"], min_score=float("nan"), overlap_token_count=-1)),
            refused(KIND()),
            refused(KIND(texts=["a"] * 300)),
        )
        assert found == [
            ["aggregation", "overlap_token_count", "min_score", "texts[0]"],
            ["overlap_token_count", "min_score"],
            ["texts"],
            ["texts"],
        ]
        for text, spans in zip(odd, strange.results, strict=True):
            equal(spans.spans, reference(text, aggregation_strategy="simple", ignore_labels=[""]), text)
        assert len(long.results[0].spans) == 6000
        assert long.results[0].spans[-1].end == len(huge) - 1
        (expected,) = reference(["the lazy dog"], aggregation_strategy="simple")
        for spans in neighbour.results:
            equal(spans.spans, expected, "the lazy dog")


def test_a_model_called_by_hand_labels_what_the_pipeline_labels(tmp_path: Path) -> None:
    """The windows by hand are as good as the pipeline, where one window is enough."""
    folder = tagger(tmp_path / "bert")
    scores = own_model(folder, AutoModelForTokenClassification)("the lazy dog").logits[0, 1:-1].softmax(-1)
    torch.testing.assert_close(probabilities_by_windows(folder, "the lazy dog", 8), scores)


async def test_texts_may_be_as_long_as_what_may_wait(tmp_path: Path) -> None:
    async with running_stack(tagger(tmp_path / "bert"), max_queued_tokens=3000) as stack:
        label = stack.client.text.classify_tokens
        assert "tokens in windows" in (await violations(label, KIND(texts=["dog " * 2000] * 2)))["texts"]
        found = await violations(label, KIND(texts=["dog " * 6001], min_score=2))
        assert list(found) == ["min_score", "texts"]
        assert len((await label(KIND(texts=["dog " * 1000] * 2))).results) == 2
