"""Encoder layers of the native library, compared with the layers' own forward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    BertConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    DistilBertConfig,
    ElectraConfig,
    PretrainedConfig,
    RobertaConfig,
    SiglipVisionConfig,
    ViTConfig,
)

from services.engine.acceleration.replacement import accelerate
from services.engine.fusion.encoder import FusedEncoderLayer
from services.engine.native.library import load_library

LIBRARY = load_library()
pays = LIBRARY is not None and all(LIBRARY.linear_pays.values())
pytestmark = pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine")

LONGEST = 150
SHAPE: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
TEXTS: dict[str, Callable[[], PretrainedConfig]] = {
    "bert": lambda: BertConfig(vocab_size=99, max_position_embeddings=LONGEST, **SHAPE),
    "bert of tanh": lambda: BertConfig(vocab_size=99, max_position_embeddings=LONGEST, hidden_act="gelu_new", **SHAPE),
    "roberta of relu": lambda: RobertaConfig(
        vocab_size=99, max_position_embeddings=LONGEST + 2, hidden_act="relu", **SHAPE
    ),
    "electra": lambda: ElectraConfig(vocab_size=99, max_position_embeddings=LONGEST, embedding_size=32, **SHAPE),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=99, max_position_embeddings=LONGEST, dim=96, hidden_dim=160, n_layers=2, n_heads=4
    ),
}
IMAGES: dict[str, Callable[[], PretrainedConfig]] = {
    "vit": lambda: ViTConfig(image_size=64, patch_size=8, **SHAPE),
    "clip": lambda: CLIPVisionConfig(image_size=64, patch_size=8, **SHAPE),
    "siglip": lambda: SiglipVisionConfig(image_size=64, patch_size=8, **SHAPE),
}
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 4e-2}


class Twins:
    """The same model twice: unchanged, and accelerated."""

    def __init__(self, config: PretrainedConfig, dtype: torch.dtype) -> None:
        self.device = torch.device("cpu")
        self.own, self.model = made(config, dtype), made(config, dtype)

    def accelerate(self, *inputs: Tensor) -> "Twins":
        with torch.inference_mode():
            accelerate(self, lambda: [self.model(*inputs)[0].float()])
        return self

    @property
    def fused(self) -> list[FusedEncoderLayer]:
        forwards = [module.forward for module in self.model.modules()]
        return [forward for forward in forwards if isinstance(forward, FusedEncoderLayer)]


def made(config: PretrainedConfig, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.to(dtype).eval()


def texts(*lengths: int) -> tuple[Tensor, Tensor]:
    """Returns ids and attention mask of random texts, padded on the right."""
    ids = torch.randint(3, 99, (len(lengths), max(lengths)))
    return ids, (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


def assert_close(found: Tensor, expected: Tensor) -> None:
    worst = (found.float() - expected.float()).abs().max() / expected.float().abs().max()
    assert worst <= TOLERANCE[found.dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", TEXTS)
@torch.inference_mode()
def test_texts_of_any_lengths_come_out_as_by_the_models_own_layers(name: str, dtype: torch.dtype) -> None:
    twins = Twins(TEXTS[name](), dtype).accelerate(*texts(9, 9))
    assert len(twins.fused) == 2
    for lengths in ((1,), (2, 1), (17, 33, 32), (LONGEST, 5, 64), (11,) * 5, (13, 14, 15, 16, 31)):
        ids, mask = texts(*lengths)
        own = twins.own(ids, attention_mask=mask).last_hidden_state
        found = twins.model(ids, attention_mask=mask).last_hidden_state
        assert_close(found[mask.bool()], own[mask.bool()])
        assert found.isfinite().all()  # padding too, since a decoder may multiply it by zero


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", IMAGES)
@torch.inference_mode()
def test_images_come_out_as_by_the_models_own_layers(name: str, dtype: torch.dtype) -> None:
    pictures = torch.randn(3, 3, 64, 64).to(dtype)
    twins = Twins(IMAGES[name](), dtype).accelerate(pictures[:1])
    assert len(twins.fused) == 2
    assert_close(twins.model(pictures).last_hidden_state, twins.own(pictures).last_hidden_state)


@pytest.mark.parametrize("dtype", TOLERANCE)
@torch.inference_mode()
def test_neighbours_and_padding_change_no_bit(dtype: torch.dtype) -> None:
    twins = Twins(TEXTS["bert"](), dtype).accelerate(*texts(9, 9))
    ids, mask = texts(5, 40, 23, 5)
    together = twins.model(ids, attention_mask=mask).last_hidden_state
    for row, length in enumerate((5, 40, 23, 5)):
        alone = twins.model(ids[row : row + 1, :length], attention_mask=mask[row : row + 1, :length])
        assert torch.equal(together[row, :length], alone.last_hidden_state[0])


@torch.inference_mode()
def test_what_the_library_does_not_know_the_layer_does_itself() -> None:
    twins = Twins(TEXTS["bert"](), torch.float32).accelerate(*texts(9, 9))
    ids, mask = texts(12, 12)
    mask[0, 3] = 0  # a hole in the mask, which text lengths cannot express
    found, own = (model(ids, attention_mask=mask).last_hidden_state for model in (twins.model, twins.own))
    assert_close(found[mask.bool()], own[mask.bool()])
    states = twins.model(ids, output_hidden_states=True).hidden_states
    for found, own in zip(states, twins.own(ids, output_hidden_states=True).hidden_states, strict=True):
        assert_close(found, own)


@torch.inference_mode()
def test_layers_that_look_back_only_stay_their_own() -> None:
    config = CLIPTextConfig(vocab_size=99, max_position_embeddings=LONGEST, bos_token_id=1, eos_token_id=2, **SHAPE)
    assert not Twins(config, torch.float32).accelerate(*texts(9, 9)).fused


@torch.inference_mode()
def test_layers_that_scale_what_they_add_stay_their_own() -> None:
    from transformers import Dinov2Config

    config = Dinov2Config(image_size=64, patch_size=8, layerscale_value=0.5, **SHAPE)
    assert not Twins(config, torch.float32).accelerate(torch.randn(1, 3, 64, 64)).fused


def test_a_model_of_one_layer_is_not_taken_for_the_layer() -> None:
    config = BertConfig(vocab_size=99, max_position_embeddings=LONGEST, **(SHAPE | {"num_hidden_layers": 1}))
    twins = Twins(config, torch.float32).accelerate(*texts(9, 9))
    (fused,) = twins.fused
    layers: Any = twins.model.encoder.layer
    assert isinstance(layers, nn.ModuleList)
    assert layers[0].forward is fused
