"""Embed through gateway and client, against transformers' own model called by hand in float32."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

from sensorium import InvalidArgument
from sensorium.v1 import models_pb2 as models
from sensorium.v1 import text_pb2 as pb
from tests.drawn import drawn
from tests.e2e.stack import running_stack
from tests.own_models import own
from tests.tiny.encoders import CONTEXT, write_encoder

TEXTS = ["the lazy dog", "Ada wrote the first program in London", "batches", "A model reads a text and answers at once"]
TOLERANCE = 2e-5
"""Of numbers of about 1, whatever is in the batch."""


def by_hand(folder: Path, text: str, kind: Any = AutoModel) -> torch.Tensor:
    """Returns `[tokens, width]`, of one text alone."""
    model = own(kind, folder)
    with torch.inference_mode():
        return model(**AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")).last_hidden_state[0]


async def test_the_encoder_of_an_encoder_decoder_is_served_by_itself(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "t5", "t5", AutoModelForTextEncoding)
    async with running_stack(folder) as stack:
        answer = await stack.client.text.embed(pb.EmbedRequest(texts=TEXTS))
    for text, embedding in zip(TEXTS, answer.embeddings, strict=True):
        vector = unit(by_hand(folder, text, AutoModelForTextEncoding).mean(0))
        np.testing.assert_allclose(embedding.values, vector, atol=TOLERANCE)


def unit(vector: torch.Tensor) -> np.ndarray[Any, Any]:
    return torch.nn.functional.normalize(vector, dim=-1).numpy()


@pytest.mark.parametrize("name", drawn(["bert", "roberta", "modernbert", "mpnet", "deberta", "distilbert", "qwen3"], 3))
async def test_vectors_are_the_pooled_states_of_the_model(tmp_path: Path, name: str) -> None:
    folder = write_encoder(tmp_path / name, name, AutoModel)
    task = {"task": "embed"} if name == "qwen3" else {}
    expected = {
        pb.POOLING_UNSPECIFIED: [unit(by_hand(folder, text).mean(0)) for text in TEXTS],
        pb.POOLING_FIRST_TOKEN: [unit(by_hand(folder, text)[0]) for text in TEXTS],
        pb.POOLING_LAST_TOKEN: [unit(by_hand(folder, text)[-1]) for text in TEXTS],
        pb.POOLING_MAX: [unit(by_hand(folder, text).amax(0)) for text in TEXTS],
        pb.POOLING_NONE: [unit(by_hand(folder, text)).ravel() for text in TEXTS],
    }
    async with running_stack(folder, **task) as stack:
        # All together and beside each other: whatever shares a batch changes nothing.
        requests = [pb.EmbedRequest(texts=TEXTS, pooling=pooling) for pooling in expected]
        answers = await asyncio.gather(*(stack.client.text.embed(request) for request in requests))
        for wanted, answer in zip(expected.values(), answers, strict=True):
            for vector, embedding in zip(wanted, answer.embeddings, strict=True):
                np.testing.assert_allclose(embedding.values, vector, atol=TOLERANCE)
        info = (await stack.client.models.get_model(models.GetModelRequest())).model
        assert list(info.tasks) == [models.TASK_EMBED_TEXT, models.TASK_TOKENIZE]
        assert info.limits.context_token_count == CONTEXT
        assert answers[0].usage.input_token_count == sum(len(by_hand(folder, text)) for text in TEXTS)
        assert answers[0].timing.total.ToNanoseconds() > answers[0].timing.compute.ToNanoseconds() > 0
        assert answers[0].model.revision == info.identity.revision


async def test_a_folder_of_sentence_transformers_is_read_as_it_is(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "sentences", "bert", AutoModel)
    dense = torch.nn.Linear(32, 12)
    _write_modules(folder, dense)
    text, prompt = "Reads A text", "query: "

    def vector(whole: str, dimensions: int = 12) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            return unit(torch.tanh(dense(by_hand(folder, whole)[0]))[:dimensions])

    async with running_stack(folder) as stack:

        async def embed(**more: Any) -> np.ndarray[Any, Any]:
            answer = await stack.client.text.embed(pb.EmbedRequest(texts=[text], **more))
            return np.array(answer.embeddings[0].values)

        np.testing.assert_allclose(await embed(), vector("document: " + text), atol=TOLERANCE)
        np.testing.assert_allclose(await embed(prompt_name="query"), vector(prompt + text), atol=TOLERANCE)
        np.testing.assert_allclose(await embed(prompt=""), vector(text), atol=TOLERANCE)
        np.testing.assert_allclose(await embed(prompt="", dimension_count=5), vector(text, 5), atol=TOLERANCE)
        long = "the dog " * CONTEXT
        with pytest.raises(InvalidArgument, match="model reads at most 40"):
            await stack.client.text.embed(pb.EmbedRequest(texts=[long], prompt=""))
        with pytest.raises(InvalidArgument, match="'passage'; the model's prompts are: document, query"):
            await embed(prompt_name="passage")


def _write_modules(folder: Path, dense: torch.nn.Linear) -> None:
    from safetensors.torch import save_file

    modules = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules.items())
    ]
    for path in ("1_Pooling", "2_Dense"):
        (folder / path).mkdir()
    for name, content in {
        "modules.json": listed,
        "sentence_bert_config.json": {"max_seq_length": 40, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "document: "},
            "default_prompt_name": "document",
        },
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_cls_token": True},
        "2_Dense/config.json": {"in_features": 32, "out_features": 12, "activation_function": "torch.nn.Tanh"},
    }.items():
        (folder / name).write_text(json.dumps(content))
    save_file(
        {"linear.weight": dense.weight.data, "linear.bias": dense.bias.data}, folder / "2_Dense/model.safetensors"
    )


async def test_all_that_is_wrong_is_told_at_once_and_long_texts_are_cut_on_request(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModel)
    async with running_stack(folder, max_batch_items=3) as stack:

        async def violations(**request: Any) -> dict[str, str]:
            with pytest.raises(InvalidArgument) as caught:
                await stack.client.text.embed(pb.EmbedRequest(**request))
            return {violation.field: violation.description for violation in caught.value.violations}

        assert list(await violations()) == ["texts"]
        assert "1 to 3 items, not 4" in (await violations(texts=["a"] * 4))["texts"]
        found = await violations(texts=["", "dog " * 9000, "dog"], dimension_count=33, prompt_name="x")
        assert list(found) == ["dimension_count", "prompt_name", "texts[0]", "texts[1]"]
        assert list(await violations(texts=["a"], pooling=99)) == ["pooling"]
        words = ["the", "lazy", "dog"] * CONTEXT
        whole = {
            pb.TRUNCATION_END: " ".join(words[: CONTEXT - 2]),
            pb.TRUNCATION_START: " ".join(words[-(CONTEXT - 2) :]),
        }
        for truncation, expected in whole.items():
            assert len(by_hand(folder, expected)) == CONTEXT
            request = pb.EmbedRequest(texts=[" ".join(words)], truncation=truncation)
            answer = await stack.client.text.embed(request)
            np.testing.assert_allclose(
                answer.embeddings[0].values, unit(by_hand(folder, expected).mean(0)), atol=TOLERANCE
            )
