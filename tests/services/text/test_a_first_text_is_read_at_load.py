from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    DPRConfig,
    TapasConfig,
)

from services.engine.checkpoint import ModelRefused
from services.engine.metrics import EngineMetrics
from services.text.app import load
from services.text.config import TextSettings
from tests.tiny.encoders import CONTEXT, wordpiece


def attempt(
    folder: Path, kind: Any, auto_class: Any = AutoModel, *, task: str = "auto", tokens: int = 400, **config: int
) -> None:
    made = kind(
        vocab_size=tokens, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=CONTEXT, **config,
    )  # fmt: skip
    auto_class.from_config(made).save_pretrained(folder)
    wordpiece().save_pretrained(folder)
    settings = TextSettings(model=str(folder), task=task, device="cpu", dtype="float32")
    load(settings, EngineMetrics(CollectorRegistry()), lambda: None).threads.close()


def test_a_model_of_tables_is_refused(tmp_path: Path) -> None:
    """TAPAS needs the row and column of each token as token types, which no text has."""
    with pytest.raises(ModelRefused, match="TapasModel cannot read texts as TokenizersBackend gives them"):
        attempt(tmp_path, TapasConfig)


def test_a_model_that_gives_no_vectors_of_tokens_is_not_asked_for_embeddings(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="DPRQuestionEncoder gives no vectors of tokens"):
        attempt(tmp_path, DPRConfig, task="embed")


def test_a_model_that_lacks_some_tokens_is_not(tmp_path: Path) -> None:
    attempt(tmp_path, BertConfig, tokens=8)


def test_a_model_that_knows_no_second_type_reads_no_pairs(tmp_path: Path) -> None:
    classify = AutoModelForSequenceClassification
    attempt(tmp_path / "classes", BertConfig, classify, num_labels=2, type_vocab_size=1)
    for auto_class, labels in ((classify, 1), (AutoModelForQuestionAnswering, 2)):
        attempt(tmp_path / "two", BertConfig, auto_class, num_labels=labels)
        with pytest.raises(ModelRefused, match="knows 1 of the 2 types of tokens that TokenizersBackend tells"):
            attempt(tmp_path / "one", BertConfig, auto_class, num_labels=labels, type_vocab_size=1)
