"""What a tokenizer lacks is told while loading, if the task needs it; what does not need it works."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    PerceiverTokenizer,
)

from sensorium.rpc import CannotServe
from sensorium.v1 import text_pb2 as pb
from tests.e2e.stack import running_stack, text_service
from tests.e2e.understanding import TOLERANCE, own_model, transformers_pipeline
from tests.tiny.encoders import CONTEXT, write_encoder


def without_offsets(folder: Path, auto_class: Any, **config: Any) -> Path:
    """Writes a model that reads bytes by a tokenizer in Python, which keeps no offsets."""
    tokenizer = PerceiverTokenizer(model_max_length=CONTEXT)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    auto_class.from_config(
        BertConfig(vocab_size=len(tokenizer), max_position_embeddings=CONTEXT, initializer_range=0.3, **shape, **config)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("auto_class", [AutoModelForTokenClassification, AutoModelForQuestionAnswering])
async def test_spans_need_offsets(tmp_path: Path, auto_class: Any) -> None:
    with pytest.raises(CannotServe, match=r"where tokens lie in a text.*Put a tokenizer\.json beside the weights"):
        async with text_service(without_offsets(tmp_path / "slow", auto_class)):
            pass


async def test_masks_need_a_mask_token(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModelForMaskedLM)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(CannotServe, match="has no mask token"):
        async with text_service(folder):
            pass


async def test_a_head_without_weights_is_not_served(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "bert", "bert", AutoModelForMaskedLM)
    with pytest.raises(CannotServe, match="lacks 2 of the model's weights"):
        async with text_service(folder, task="answer-question"):
            pass


async def test_a_decoder_that_cannot_tell_texts_from_padding_is_not_served(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "qwen3", "qwen3", AutoModelForSequenceClassification)
    for file in ("config.json", "tokenizer_config.json"):
        text = (folder / file).read_text()
        lines = [line for line in text.splitlines() if '"pad_token' not in line]
        (folder / file).write_text("\n".join(lines))
    with pytest.raises(CannotServe, match="no padding token is defined"):
        async with text_service(folder):
            pass


async def test_texts_are_classified_ranked_and_filled_without_offsets(tmp_path: Path) -> None:
    folder = without_offsets(tmp_path / "one", AutoModelForSequenceClassification, num_labels=1)
    model = own_model(folder, AutoModelForSequenceClassification)
    async with running_stack(folder) as stack:
        request = pb.RerankRequest(query="who", documents=["Ada wrote it", "é🙂"], raw_scores=True)
        scores = {result.index: result.score for result in (await stack.client.text.rerank(request)).results}
        assert scores[0] == pytest.approx(model("who", "Ada wrote it").logits.item(), abs=10 * TOLERANCE)
        assert scores[1] == pytest.approx(model("who", "é🙂").logits.item(), abs=10 * TOLERANCE)
        request = pb.RerankRequest(query="who", documents=["a" * 99], raw_scores=True, truncation=pb.TRUNCATION_END)
        (result,) = (await stack.client.text.rerank(request)).results
        kept = "a" * (CONTEXT - 6)
        assert result.score == pytest.approx(model("who", kept).logits.item(), abs=10 * TOLERANCE)
    folder = without_offsets(tmp_path / "mask", AutoModelForMaskedLM)
    reference = transformers_pipeline("fill-mask", folder)
    async with running_stack(folder) as stack:
        answer = await stack.client.text.fill_mask(pb.FillMaskRequest(texts=["a[MASK]c [MASK]"], targets=["b", "x"]))
        expected = reference("a[MASK]c [MASK]", targets=["b", "x"])
        for place, wanted in zip(answer.results[0].places, expected, strict=True):
            assert [one.token_id for one in place.candidates] == [one["token"] for one in wanted]
        first = answer.results[0].places[0].candidates[0]
        assert first.filled_text == f"a{first.text}c [MASK]"
