from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    CanineConfig,
    FNetConfig,
    IBertConfig,
    NystromformerConfig,
    PretrainedConfig,
)

from services.engine.batching.job import Item
from services.engine.checkpoint import Checkpoint
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.company import Company, company_of
from services.engine.encoders.loading import LoadedEncoder, load_text_encoder
from services.engine.encoders.runner import TextRunner
from services.engine.encoders.tokens import TextTokens
from tests.tiny.encoders import CONTEXT, wordpiece

SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT, "pad_token_id": 0, "num_labels": 3,
}  # fmt: skip
WORDS: dict[str, Any] = SHAPE | {"vocab_size": 200}
MODELS: dict[str, tuple[Callable[[], PretrainedConfig], Company]] = {
    "bert": (lambda: BertConfig(**WORDS), Company.ANY),
    "ibert": (lambda: IBertConfig(**WORDS), Company.ANY),
    "fnet": (lambda: FNetConfig(**WORDS), Company.EVEN),
    "nystromformer": (lambda: NystromformerConfig(**WORDS), Company.EVEN),
    "canine": (lambda: CanineConfig(**SHAPE | {"max_position_embeddings": 256}, downsampling_rate=4), Company.EVEN),
}
"""Configurations, and in which company each text gets the answer that it gets alone."""
LENGTHS = [5, 16, 9, 5, 16]


@pytest.mark.parametrize("name", MODELS)
def test_a_text_beside_others_gets_the_answer_that_it_gets_alone(tmp_path: Path, name: str) -> None:
    make_config, company = MODELS[name]
    loaded = written(tmp_path, make_config())
    accelerate(loaded)
    assert company_of(loaded) is company
    check(loaded, company)


def test_places_of_answers_share_batches_with_longer_texts(tmp_path: Path) -> None:
    loaded = written(tmp_path, BertConfig(**WORDS | {"num_labels": 2}), AutoModelForQuestionAnswering)
    accelerate(loaded)
    assert company_of(loaded) is Company.ANY


def test_a_model_that_looks_at_its_neighbours_is_given_none(tmp_path: Path) -> None:
    loaded = written(tmp_path, BertConfig(**WORDS))
    embeddings: Any = loaded.model.get_submodule("bert.embeddings")
    embeddings.register_forward_hook(lambda _module, _given, output: output - output.mean(0, keepdim=True) / 2)
    assert company_of(loaded) is Company.NONE
    check(loaded, Company.NONE)


def written(folder: Path, config: PretrainedConfig, kind: Any = AutoModelForSequenceClassification) -> LoadedEncoder:
    """Returns a random model with wide weights, loaded as a service loads it."""
    torch.manual_seed(0)
    model = kind.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    wordpiece().save_pretrained(folder)
    return load_text_encoder(Checkpoint(str(folder), torch.device("cpu")), kind)


def check(loaded: LoadedEncoder, company: Company) -> None:
    """Asserts that texts of several lengths get the answers, in their order, that the model gives each alone."""
    texts = [[7 + (i * j) % 90 for i in range(1, length + 1)] for j, length in enumerate(LENGTHS, start=3)]
    runner = TextRunner(loaded.model, loaded.device, loaded.pad_id, logits, company=company)
    together = runner.run([Item(TextTokens(ids, [0] * len(ids))) for ids in texts])
    for ids, found in zip(texts, together, strict=True):
        with torch.inference_mode():
            own = loaded.model(input_ids=torch.tensor([ids])).logits[0]
        torch.testing.assert_close(found, own, atol=2e-4, rtol=1e-3)


def logits(output: Any, _batch: object, _items: Sequence[Item]) -> list[torch.Tensor]:
    return [*output.logits]
