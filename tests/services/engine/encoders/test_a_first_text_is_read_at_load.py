from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig, PretrainedConfig, TapasConfig

from services.engine.checkpoint import Checkpoint, ModelRefused
from services.engine.encoders.loading import load_text_encoder
from services.engine.encoders.reader import TextReader
from services.engine.encoders.trial import try_reading
from tests.tiny_encoders import CONTEXT, wordpiece


def attempt(folder: Path, kind: type[PretrainedConfig], tokens: int = 400) -> None:
    config = kind(
        vocab_size=tokens, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=CONTEXT,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(folder)
    wordpiece().save_pretrained(folder)
    loaded = load_text_encoder(Checkpoint(str(folder), torch.device("cpu")), AutoModel)
    try_reading(loaded, TextReader(loaded.tokenizer, loaded.context_tokens))


def test_a_model_of_tables_is_refused(tmp_path: Path) -> None:
    """TAPAS reads the row and the column of each token as types."""
    with pytest.raises(ModelRefused, match="TapasModel cannot read texts as TokenizersBackend gives them"):
        attempt(tmp_path, TapasConfig)


def test_a_model_that_lacks_some_tokens_is_not(tmp_path: Path) -> None:
    attempt(tmp_path, BertConfig, tokens=8)
