"""Classify through gateway and client, by labels in the request, against transformers' pipeline in float32."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from tests.drawn import drawn
from tests.e2e.stack import running_stack
from tests.e2e.understanding import TOLERANCE, own_model, random_texts, transformers_pipeline, violations
from tests.tiny.encoders import CONTEXT, write_encoder

OWN = {
    "bert": ["contradiction", "neutral", "entailment"],
    "bart": ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"],
    "roberta": ["entailment", "neutral", "contradiction"],
    "deberta": ["entailment", "not_entailment"],
}
LABELS = ["a dog", "computers", "東京", "speed"]


def inference(folder: Path, name: str, labels: list[str] | None = None) -> Path:
    named = dict(enumerate(labels or OWN[name]))
    label2id = {label: i for i, label in named.items()}
    return write_encoder(
        folder, name, AutoModelForSequenceClassification, num_labels=len(named), id2label=named, label2id=label2id
    )


def equal(results: Any, expected: list[dict[str, Any]], labels: list[str] = LABELS) -> None:
    for found, wanted in zip(results, expected, strict=True):
        assert [score.label for score in found.labels] == wanted["labels"]
        assert all(labels[score.index] == score.label for score in found.labels)
        np.testing.assert_allclose([score.score for score in found.labels], wanted["scores"], atol=TOLERANCE)


@pytest.mark.parametrize("name", drawn([*OWN], 2))
async def test_labels_of_the_request_are_scored_as_the_pipeline_does(tmp_path: Path, name: str) -> None:
    folder, texts, template = inference(tmp_path / name, name), random_texts(8, words=4), "It is about {}, surely."
    reference = transformers_pipeline("zero-shot-classification", folder)
    async with running_stack(folder) as stack:
        classify = stack.client.text.classify
        requests = [
            pb.ClassifyRequest(texts=texts, labels=LABELS),
            pb.ClassifyRequest(texts=texts, labels=LABELS, multi_label=True, hypothesis_template=template),
            pb.ClassifyRequest(texts=texts, labels=LABELS[:1]),
            pb.ClassifyRequest(texts=texts),
            *(pb.ClassifyRequest(texts=[text], labels=LABELS, top_k=2) for text in texts),
        ]
        together, apart, single, own, *alone = await asyncio.gather(*map(classify, requests))
        equal(together.results, reference(texts, LABELS))
        equal(apart.results, reference(texts, LABELS, multi_label=True, hypothesis_template=template))
        equal(single.results, reference(texts, LABELS[:1]))
        for one, wanted in zip(alone, reference(texts, LABELS), strict=True):
            equal(one.results, [{key: wanted[key][:2] for key in ("labels", "scores")}])
        assert {score.label for score in own.results[0].labels} == set(OWN[name])
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        expected = [models.TASK_CLASSIFY_TEXT, models.TASK_ZERO_SHOT_CLASSIFY_TEXT, models.TASK_TOKENIZE]
        assert list(info.tasks) == expected
        pairs = [(text, f"This example is {label}.") for text in texts for label in LABELS]
        tokens = sum(len(reference.__closure__[0].cell_contents.tokenizer(*pair).input_ids) for pair in pairs)  # type: ignore[index]
        assert together.usage.input_token_count == tokens


async def test_the_opposite_is_the_label_of_that_name_wherever_it_stands(tmp_path: Path) -> None:
    folder = inference(tmp_path / "bert", "bert", ["neutral", "entailment", "contradiction"])
    model = own_model(folder, AutoModelForSequenceClassification)
    logits = model("the lazy dog", "This example is a dog.").logits[0]
    async with running_stack(folder) as stack:
        request = pb.ClassifyRequest(texts=["the lazy dog"], labels=["a dog"])
        (score,) = (await stack.client.text.classify(request)).results[0].labels
        assert score.score == pytest.approx(logits[1:].softmax(-1)[0].item(), abs=TOLERANCE)


async def test_the_text_is_cut_and_never_the_label(tmp_path: Path) -> None:
    folder = inference(tmp_path / "bert", "bert")
    model = own_model(folder, AutoModelForSequenceClassification)
    text, hypothesis = "the lazy dog fox over jumps " * 20, "This example is a dog."
    logits = model(text, hypothesis, truncation="only_first", max_length=CONTEXT).logits[0]
    async with running_stack(folder) as stack:
        request = pb.ClassifyRequest(texts=[text], labels=["a dog"], truncation=pb.TRUNCATION_END)
        answer = await stack.client.text.classify(request)
        expected = logits[[0, 2]].softmax(-1)[1].item()
        assert answer.results[0].labels[0].score == pytest.approx(expected, abs=TOLERANCE)
        assert answer.usage.input_token_count == CONTEXT


async def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    folder = inference(tmp_path / "bert", "bert")
    async with running_stack(folder, max_batch_items=4) as stack:
        classify = stack.client.text.classify
        long = "dog " * CONTEXT
        request = pb.ClassifyRequest(
            texts=["", "a", long],
            labels=["x", "", "y", "x", long],
            hypothesis_template="nothing",
            raw_scores=True,
            top_k=0,
        )
        found = await violations(classify, request)
        fields = ["top_k", "hypothesis_template", "raw_scores", "labels[1]", "labels[3]", "texts[0]", "texts[2]"]
        assert list(found) == fields
        assert found["labels[3]"] == "is the same as labels[0]"
        found = await violations(classify, pb.ClassifyRequest(texts=["a"], labels=["x", long]))
        assert list(found) == ["labels[1]"]
        found = await violations(classify, pb.ClassifyRequest(texts=["a"] * 4, labels=map(str, range(17))))
        assert found == {"labels": "make 68 pairs with the texts; at most 64 are allowed"}
        assert list(await violations(classify, pb.ClassifyRequest(labels=["x"]))) == ["texts"]
        answer = await classify(pb.ClassifyRequest(texts=["a"] * 4, labels=map(str, range(16))))
        assert [len(result.labels) for result in answer.results] == [16] * 4
