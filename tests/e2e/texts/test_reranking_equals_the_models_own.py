"""Rerank through gateway and client, against the model called by hand on one pair at a time in float32."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification

from sensorium import TaskNotSupported
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from tests.drawn import drawn
from tests.e2e.stack import running_stack
from tests.e2e.understanding import TOLERANCE, own_model, random_texts, violations
from tests.tiny.encoders import CONTEXT, write_encoder

QUERY = "the lazy dog"


def cross_encoder(folder: Path, name: str) -> Path:
    """Writes one as sentence-transformers does, whose own `predict` gives logits."""
    activation = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.1.0"}
    return write_encoder(
        folder, name, AutoModelForSequenceClassification, num_labels=1, sentence_transformers=activation
    )


@pytest.mark.parametrize("name", drawn(["bert", "roberta", "deberta", "modernbert", "electra", "qwen3", "bart"], 3))
async def test_documents_come_in_the_order_of_the_models_logits(tmp_path: Path, name: str) -> None:
    folder = cross_encoder(tmp_path / name, name)
    model = own_model(folder, AutoModelForSequenceClassification)
    documents = [*random_texts(30), "batches", "batches"]
    logits = np.array([model(QUERY, document).logits.item() for document in documents])
    order = np.argsort(-logits, kind="stable")
    async with running_stack(folder) as stack:
        requests = [
            pb.RerankRequest(query=QUERY, documents=documents, return_documents=True),
            pb.RerankRequest(query=QUERY, documents=documents, raw_scores=True, top_n=3),
            *(pb.RerankRequest(query=QUERY, documents=[document], raw_scores=True) for document in documents[:8]),
        ]
        whole, best, *alone = await asyncio.gather(*map(stack.client.text.rerank, requests))
        # The same document twice may be read in two batches, which round it differently: either comes first.
        assert sorted(result.index for result in whole.results) == sorted(order)
        assert [documents[result.index] for result in whole.results] == [documents[i] for i in order]
        assert [result.document for result in whole.results] == [documents[i] for i in order]
        scores = [result.score for result in whole.results]
        np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits[order])), atol=TOLERANCE)
        assert [result.index for result in best.results] == list(order[:3])
        assert not any(result.HasField("document") for result in best.results)
        np.testing.assert_allclose([result.score for result in best.results], logits[order[:3]], atol=10 * TOLERANCE)
        np.testing.assert_allclose([one.results[0].score for one in alone], logits[:8], atol=10 * TOLERANCE)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_RERANK, models.TASK_CLASSIFY_TEXT, models.TASK_TOKENIZE]
        assert list(info.labels) == ["LABEL_0"]


async def test_the_document_is_cut_and_never_the_query(tmp_path: Path) -> None:
    folder = cross_encoder(tmp_path / "bert", "bert")
    model = own_model(folder, AutoModelForSequenceClassification)
    words = ["the", "lazy", "dog", "fox", "over"] * 20
    kept = CONTEXT - 3 - len(QUERY.split())
    async with running_stack(folder) as stack:
        for truncation, document in (
            (pb.TRUNCATION_END, " ".join(words[:kept])),
            (pb.TRUNCATION_START, " ".join(words[-kept:])),
        ):
            request = pb.RerankRequest(
                query=QUERY, documents=["fox", " ".join(words)], truncation=truncation, raw_scores=True
            )
            answer = await stack.client.text.rerank(request)
            score = next(result.score for result in answer.results if result.index == 1)
            assert score == pytest.approx(model(QUERY, document).logits.item(), abs=10 * TOLERANCE)
            assert answer.usage.input_token_count == CONTEXT + len(QUERY.split()) + 3 + 1


async def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    folder = cross_encoder(tmp_path / "bert", "bert")
    async with running_stack(folder, max_batch_items=3) as stack:
        rerank = stack.client.text.rerank
        long = "dog " * CONTEXT
        found = await violations(rerank, pb.RerankRequest(documents=["", long, "a"], top_n=0, truncation=9))
        assert list(found) == ["truncation", "top_n", "query", "documents[0]", "documents[1]"]
        assert list(await violations(rerank, pb.RerankRequest(query="a"))) == ["documents"]
        assert "not 4" in (await violations(rerank, pb.RerankRequest(query="a", documents=["a"] * 4)))["documents"]
        found = await violations(rerank, pb.RerankRequest(query=long, documents=["a", "b"]))
        assert list(found) == ["query"]
        almost = "dog " * (CONTEXT - 3)
        request = pb.RerankRequest(query=almost, documents=["a", "b"], truncation=pb.TRUNCATION_END)
        assert list(await violations(rerank, request)) == ["query"]
        with pytest.raises(TaskNotSupported):
            await stack.client.text.classify(pb.ClassifyRequest(texts=["a"], labels=["b"]))
        with pytest.raises(TaskNotSupported):
            await stack.client.text.fill_mask(pb.FillMaskRequest(texts=["a [MASK]"]))
