"""An overflow in float16 gives NaN. It must not be answered, not as a score, a vector, an empty list or a token."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from sensorium.errors import Internal
from services.engine.language.texts import Truncation
from services.engine.metrics import EngineMetrics
from services.text.app import load
from services.text.config import TextSettings
from services.text.understanding.ask import (
    AnswerQuestionAsk,
    ClassifyAsk,
    ClassifyTokensAsk,
    EmbedAsk,
    FillMaskAsk,
    RerankAsk,
    TextsInput,
)
from services.text.verb_set import TextVerbs
from tests.tiny.encoders import wordpiece, write_encoder

POISON, GOOD = "fox", ["a model reads", "the dog [MASK] over", "ada wrote"]
SEQUENCES = AutoModelForSequenceClassification
Ask = Callable[[TextVerbs, TextsInput], Any]

VERBS: dict[str, tuple[Any, dict[str, Any], Ask]] = {
    "embed": (AutoModel, {}, lambda verbs, given: verbs.embedder.embed(EmbedAsk(given, None, None, None, None, None))),
    "embed-tokens": (
        AutoModel, {}, lambda verbs, given: verbs.embedder.embed(EmbedAsk(given, None, None, "NONE", False, None)),
    ),
    "classify": (
        SEQUENCES, {"num_labels": 3},
        lambda verbs, given: verbs.classifier.classify(ClassifyAsk(given, [], None, None, None, raw_scores=False)),
    ),
    "rerank": (
        SEQUENCES, {"num_labels": 1},
        lambda verbs, given: verbs.reranker.rerank(RerankAsk(given, "the first program", None, raw_scores=False)),
    ),
    "classify-tokens": (
        AutoModelForTokenClassification, {"num_labels": 3},
        lambda verbs, given: verbs.token_classifier.classify_tokens(
            ClassifyTokensAsk(given, "NONE", True, None, None)
        ),
    ),
    "answer-question": (
        AutoModelForQuestionAnswering, {"num_labels": 2},
        lambda verbs, given: verbs.question_answerer.answer_question(
            AnswerQuestionAsk(given, "who wrote", None, None, 2, allow_no_answer=True)
        ),
    ),
    "fill-mask": (
        AutoModelForMaskedLM, {},
        lambda verbs, given: verbs.mask_filler.fill_mask(FillMaskAsk(given, None, [], 3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
async def test_nan_ends_its_request_alone(verb: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind, config, ask = VERBS[verb]
    folder = write_encoder(tmp_path / verb, "bert", kind, **config)
    settings = TextSettings(model=str(folder), device="cpu", dtype="float32", batch_wait_ms=200.0)
    service = load(settings, EngineMetrics(CollectorRegistry()), lambda: None)
    poison(service.loaded.model)
    service.threads.start()

    def asked(text: str) -> Any:
        whole = f"{text} [MASK]" if verb == "fill-mask" and "[MASK]" not in text else text
        return ask(service.verbs, TextsInput([whole], Truncation.NONE, None, ()))

    try:
        alone = [(await asked(text)).result for text in GOOD]
        with caplog.at_level(logging.ERROR):
            *found, bad = await asyncio.gather(*map(asked, [*GOOD, f"the {POISON}"]), return_exceptions=True)
    finally:
        service.threads.close()
    assert isinstance(bad, Internal)
    assert "NaN or infinite" in caplog.text
    for each, expected in zip(found, alone, strict=True):
        assert shown(each.result) == shown(expected)


def poison(model: Any) -> None:
    """Makes the model overflow on texts with one word, as of now."""
    (bad,) = wordpiece()(POISON, add_special_tokens=False)["input_ids"][-1:]

    def spoil(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return torch.where((inputs[0] == bad)[..., None], torch.nan, output)

    model.get_input_embeddings().register_forward_hook(spoil)


def shown(result: Any) -> str:
    """Returns what a result looks like, its numbers to some digits: a batch of other lengths rounds differently."""
    if isinstance(result, float):
        return f"{result:.3f}"
    if isinstance(result, list | tuple):
        return str([shown(each) for each in result])
    if hasattr(result, "values"):
        return str([[f"{number:.2f}" for number in row] for row in result.values.tolist()])
    return str([shown(value) for value in vars(result).values()]) if hasattr(result, "__dict__") else str(result)
