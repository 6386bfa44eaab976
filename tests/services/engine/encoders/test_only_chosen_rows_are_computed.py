from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, PerceiverConfig

from services.engine.checkpoint import Checkpoint
from services.engine.encoders.chosen_rows import ChosenRows
from services.engine.encoders.loading import load_text_encoder
from tests.tiny.encoders import wordpiece, write_encoder

IDS = torch.arange(5, 35).view(3, 10)
PLACES = [[1], [0, 9], [4]]


@pytest.mark.parametrize(
    "name", ["bert", "roberta", "electra", "modernbert", "distilbert", "albert", "deberta", "mpnet"]
)
@torch.inference_mode()
def test_the_head_sees_the_chosen_rows_alone(tmp_path: Path, name: str) -> None:
    folder = write_encoder(tmp_path, name, AutoModelForMaskedLM)
    loaded = load_text_encoder(Checkpoint(str(folder), torch.device("cpu")), AutoModelForMaskedLM)
    whole = loaded.model(input_ids=IDS).logits
    rows = ChosenRows(loaded)
    assert rows.spares
    rows.want(PLACES, loaded.device)
    logits = loaded.model(input_ids=IDS).logits
    assert logits.shape[1] == 4
    wanted = torch.stack([whole[0, 1], whole[1, 0], whole[1, 9], whole[2, 4]])
    torch.testing.assert_close(rows.taken(logits), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loaded.model(input_ids=IDS).logits, whole)


class _Mixing(torch.nn.Module):
    """A head that looks at other rows too."""

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.own = own

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.own(states - states.mean(1, keepdim=True))


@torch.inference_mode()
def test_a_head_that_looks_at_other_rows_is_given_all(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path, "bert", AutoModelForMaskedLM)
    loaded = load_text_encoder(Checkpoint(str(folder), torch.device("cpu")), AutoModelForMaskedLM)
    loaded.model.cls = _Mixing(loaded.model.cls)
    rows = ChosenRows(loaded)
    assert not rows.spares
    rows.want(PLACES, loaded.device)
    whole = loaded.model(input_ids=IDS).logits
    assert whole.shape[:2] == IDS.shape
    assert torch.equal(rows.taken(whole)[2], whole[1, 9])


@torch.inference_mode()
def test_a_model_may_make_more_rows_than_it_reads_tokens(tmp_path: Path) -> None:
    """Perceiver makes one for each place that it could read, and shows no embeddings of tokens."""
    config = PerceiverConfig(
        num_latents=4, d_latents=16, d_model=16, num_blocks=1, num_self_attends_per_block=1, num_self_attention_heads=2,
        num_cross_attention_heads=2, vocab_size=400, max_position_embeddings=32,
    )  # fmt: skip
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    wordpiece().save_pretrained(tmp_path)
    loaded = load_text_encoder(Checkpoint(str(tmp_path), torch.device("cpu")), AutoModelForMaskedLM)
    assert loaded.vocabulary_size == len(loaded.tokenizer)
    rows = ChosenRows(loaded)
    rows.want(PLACES, loaded.device)
    whole = loaded.model(input_ids=IDS).logits
    assert whole.shape[1] == 32
    torch.testing.assert_close(rows.taken(whole), torch.stack([whole[0, 1], whole[1, 0], whole[1, 9], whole[2, 4]]))
