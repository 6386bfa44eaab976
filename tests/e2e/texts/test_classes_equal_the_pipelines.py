"""Classify through gateway and client, by the model's own labels, against transformers' pipeline in float32."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

from sensorium import InvalidArgument, TaskNotSupported
from sensorium.v1 import common_pb2 as common
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from tests.drawn import drawn
from tests.e2e.stack import running_stack
from tests.e2e.understanding import TOLERANCE, own_model, random_texts, transformers_pipeline, violations
from tests.tiny.encoders import CONTEXT, write_encoder

LABELS = {0: "sad", 1: "so-so", 2: "glad", 3: "O"}


def classifier(folder: Path, name: str = "bert", **config: Any) -> Path:
    named = {"num_labels": 4, "id2label": LABELS, "label2id": {label: i for i, label in LABELS.items()}} | config
    return write_encoder(folder, name, AutoModelForSequenceClassification, **named)


def equal(results: Any, expected: list[list[dict[str, Any]]], tolerance: float = TOLERANCE) -> None:
    for found, wanted in zip(results, expected, strict=True):
        assert [score.label for score in found.labels] == [label["label"] for label in wanted]
        scores = [score.score for score in found.labels]
        np.testing.assert_allclose(scores, [label["score"] for label in wanted], atol=tolerance)


@pytest.mark.parametrize("name", drawn(["bert", "roberta", "distilbert", "albert", "modernbert", "bart"], 3))
async def test_labels_and_scores_are_the_pipelines(tmp_path: Path, name: str) -> None:
    folder, texts = classifier(tmp_path / name, name), random_texts(25)
    reference = transformers_pipeline("text-classification", folder)
    async with running_stack(folder) as stack:
        classify = stack.client.text.classify
        requests = [
            pb.ClassifyRequest(texts=texts),
            pb.ClassifyRequest(texts=texts, multi_label=True, top_k=2),
            pb.ClassifyRequest(texts=texts, raw_scores=True, top_k=9),
            *(pb.ClassifyRequest(texts=[text]) for text in texts[:10]),
        ]
        together, apart, raw, *alone = await asyncio.gather(*map(classify, requests))
        expected = reference(texts, top_k=None)
        equal(together.results, expected)
        equal(apart.results, reference(texts, top_k=2, function_to_apply="sigmoid"))
        equal(raw.results, reference(texts, top_k=None, function_to_apply="none"), 10 * TOLERANCE)
        equal([one.results[0] for one in alone], expected[:10])
        assert all(LABELS[score.index] == score.label for score in together.results[0].labels)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_CLASSIFY_TEXT, models.TASK_TOKENIZE]
        assert list(info.labels) == list(LABELS.values())
        assert info.limits.context_token_count == CONTEXT


@pytest.mark.parametrize(
    "config",
    [
        {"problem_type": "multi_label_classification"},
        {"problem_type": "single_label_classification"},
        {"problem_type": "regression", "num_labels": 1, "id2label": {0: "score"}, "label2id": {"score": 0}},
        {"num_labels": 1, "id2label": {0: "relevant"}, "label2id": {"relevant": 0}},
    ],
    ids=["multi", "single", "regression", "one label"],
)
async def test_the_configuration_says_what_scores_are(tmp_path: Path, config: dict[str, Any]) -> None:
    folder, texts = classifier(tmp_path / "model", **config), random_texts(12)
    reference = transformers_pipeline("text-classification", folder)
    async with running_stack(folder) as stack:
        classify = stack.client.text.classify
        equal((await classify(pb.ClassifyRequest(texts=texts))).results, reference(texts, top_k=None), 10 * TOLERANCE)
        request = pb.ClassifyRequest(texts=texts, multi_label=False)
        if config["problem_type"] == "regression" if "problem_type" in config else False:
            assert list(await violations(classify, request)) == ["multi_label"]
        else:
            equal((await classify(request)).results, reference(texts, top_k=None, function_to_apply="softmax"))


async def test_equal_scores_keep_the_order_of_the_labels(tmp_path: Path) -> None:
    import torch

    folder = classifier(tmp_path / "even")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([1.0, 2.0, 1.0, 2.0]))
    model.save_pretrained(folder)
    async with running_stack(folder) as stack:
        answer = await stack.client.text.classify(pb.ClassifyRequest(texts=["a", "b"]))
        assert [[score.index for score in result.labels] for result in answer.results] == [[1, 3, 0, 2]] * 2


async def test_texts_of_every_kind_are_answered_or_refused_and_harm_nobody(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "bert")
    model, batch = own_model(folder, AutoModelForSequenceClassification), ["the lazy dog"] * 256
    odd = ["   ", "\u0000\u0001\u200b\t", "[SEP] [CLS] fox [MASK]", "[PAD]", "dog" * 500, "🙂" * 60]
    huge = "the lazy dog over " * 5000
    async with running_stack(folder) as stack:
        classify = stack.client.text.classify

        async def scores(texts: list[str], truncation: pb.Truncation.ValueType = pb.TRUNCATION_NONE) -> Any:
            answer = await classify(pb.ClassifyRequest(texts=texts, raw_scores=True, truncation=truncation))
            by_index = [sorted(result.labels, key=lambda label: label.index) for result in answer.results]
            return [[label.score for label in labels] for labels in by_index]

        async def refused(request: pb.ClassifyRequest) -> list[str]:
            return list(await violations(classify, request))

        neighbour, strange, cut, *found = await asyncio.gather(
            scores(batch),
            scores(odd),
            scores([huge], pb.TRUNCATION_END),
            refused(pb.ClassifyRequest(texts=[huge, "a", ""], top_k=0, hypothesis_template="{}")),
            refused(pb.ClassifyRequest()),
            refused(pb.ClassifyRequest(texts=["a"] * 300)),
        )
        assert found == [["top_k", "hypothesis_template", "texts[2]", "texts[0]"], ["texts"], ["texts"]]
        np.testing.assert_allclose(neighbour, [model(batch[0]).logits[0]] * 256, atol=10 * TOLERANCE)
        np.testing.assert_allclose(strange, [model(text).logits[0].tolist() for text in odd], atol=10 * TOLERANCE)
        whole = model(huge, truncation=True, max_length=CONTEXT).logits[0]
        np.testing.assert_allclose(cut[0], whole, atol=10 * TOLERANCE)


async def test_end_tokens_in_texts_split_no_batch_that_needs_as_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """BART reads its answer at the last end token, and refuses batches whose texts differ in how many they have."""
    folder = classifier(tmp_path / "bart", "bart")
    texts = ["a fox", "</s> fox", "b </s></s>", "the dog"] * 5
    reference = transformers_pipeline("text-classification", folder)
    async with running_stack(folder) as stack:
        answer = await stack.client.text.classify(pb.ClassifyRequest(texts=texts))
        equal(answer.results, [reference(text, top_k=None) for text in texts])
        assert not [record for record in caplog.records if "repeated" in record.message]


async def test_labels_in_the_request_need_a_model_of_inference(tmp_path: Path) -> None:
    async with running_stack(classifier(tmp_path / "bert")) as stack:
        with pytest.raises(TaskNotSupported, match="labels in the request"):
            await stack.client.text.classify(pb.ClassifyRequest(texts=["a"], labels=["b", "c"]))
        with pytest.raises(InvalidArgument):
            await stack.client.text.classify(pb.ClassifyRequest(texts=[""]))
        answer = await stack.client.text.classify(pb.ClassifyRequest(texts=["a"], top_k=1))
        assert isinstance(answer.results[0], common.Classification)
        assert len(answer.results[0].labels) == 1
