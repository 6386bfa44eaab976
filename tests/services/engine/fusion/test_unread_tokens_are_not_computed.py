"""The last layer does not compute tokens that nothing behind it reads, and the others keep their bits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    SiglipTextConfig,
    SiglipTextModel,
)

from services.engine.acceleration import replacement
from services.engine.checkpoint import Checkpoint
from services.engine.encoders.acceleration import accelerate
from services.engine.encoders.loading import LoadedEncoder, load_text_encoder
from services.engine.encoders.pooled_tokens import PooledTokens
from services.engine.fusion.last_layer import first_token, last_layers, last_token
from services.engine.native.library import load_library
from tests.e2e.stack import vision_stack
from tests.tiny.encoders import write_encoder
from tests.tiny.joint_models import write_joint_model
from tests.tiny.vision_models import write_vision_model

LIBRARY = load_library()
pays = LIBRARY is not None and all(LIBRARY.linear_pays.values())
pytestmark = pytest.mark.skipif(not pays, reason="torch's linear layers are faster on this machine")

LENGTHS = (5, 40, 23, 1)
IDS = torch.randint(5, 90, (4, 40), generator=torch.Generator().manual_seed(1))
MASK = (torch.arange(40) < torch.tensor(LENGTHS)[:, None]).long()
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}


def load(folder: Path, name: str, kind: Any, dtype: str = "float32") -> LoadedEncoder:
    write_encoder(folder, name, kind)
    return load_text_encoder(Checkpoint(str(folder), torch.device("cpu"), dtype=dtype), kind)


def outcome(loaded: LoadedEncoder) -> Tensor:
    with torch.inference_mode():
        return loaded.model(input_ids=IDS, attention_mask=MASK)[0]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra"])
def test_a_head_that_reads_one_token_gets_the_same_bits(tmp_path: Path, name: str, dtype: str) -> None:
    loaded = load(tmp_path, name, AutoModelForSequenceClassification, dtype)
    own = outcome(loaded)
    accelerate(loaded)
    (layer,) = last_layers(loaded.model)
    assert layer.chosen is first_token
    seen: list[Tensor] = []
    loaded.model.base_model.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    spared = outcome(loaded)
    assert seen[0][:, 0].any() and not seen[0][:, 1:].any()  # only the first token was computed
    layer.chosen = None
    assert torch.equal(outcome(loaded), spared)
    assert (spared - own).abs().max() <= TOLERANCE[own.dtype] * own.abs().max()


@pytest.mark.parametrize("kind", [AutoModelForTokenClassification, AutoModelForQuestionAnswering, AutoModel])
def test_what_is_read_of_every_token_is_computed(tmp_path: Path, kind: Any) -> None:
    loaded = load(tmp_path, "bert", kind)
    accelerate(loaded)
    assert [layer.chosen for layer in last_layers(loaded.model)] == [None]


class Peeking(nn.Module):
    """A head that reads the neighbours of its token a little."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self.own = own

    def forward(self, states: Tensor) -> Tensor:
        return self.own(states + 1e-6 * states.amax(1, keepdim=True))


def test_a_head_that_looks_at_other_tokens_a_little_is_noticed(tmp_path: Path) -> None:
    loaded: Any = load(tmp_path, "bert", AutoModelForSequenceClassification)
    loaded.model.bert.pooler = Peeking(loaded.model.bert.pooler)
    accelerate(loaded)
    assert [layer.chosen for layer in last_layers(loaded.model)] == [None]


@torch.inference_mode()
def test_vectors_of_any_pooling_are_the_same_bits(tmp_path: Path) -> None:
    loaded = load(tmp_path, "bert", AutoModel, "bfloat16")
    accelerate(loaded)
    whole, tokens = outcome(loaded), PooledTokens(loaded)
    assert tokens.spares
    for places in ([0, 0, 0, 0], [4, 39, 22, 0], [0, 7, 22, 0]):
        tokens.want(places)
        found = outcome(loaded)
        assert torch.equal(found[range(4), places], whole[range(4), places])
        assert int(found.any(-1).sum()) == 4
    tokens.want(None)
    assert torch.equal(outcome(loaded), whole)


def test_layers_that_share_weights_compute_all(tmp_path: Path) -> None:
    loaded = load(tmp_path, "albert", AutoModel)
    accelerate(loaded)
    assert not PooledTokens(loaded).spares


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("clip", [first_token]), ("chinese_clip", [first_token, first_token]), ("siglip", [None])],
)
async def test_each_tower_of_a_joint_model_is_spared_by_itself(tmp_path: Path, name: str, chosen: list[Any]) -> None:
    async with vision_stack(write_joint_model(tmp_path, name)) as stack:
        model = stack.service.service._loaded.loaded.model
        assert [layer.chosen for layer in last_layers(model)] == chosen


def test_a_text_may_be_read_at_its_end() -> None:
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    loaded: Any = SimpleNamespace(device=torch.device("cpu"))
    loaded.model = SiglipTextModel(SiglipTextConfig(vocab_size=99, bos_token_id=1, eos_token_id=2, **shape)).eval()
    with torch.inference_mode():
        replacement.accelerate(loaded, lambda: [loaded.model(IDS).pooler_output])
    assert [layer.chosen for layer in last_layers(loaded.model)] == [last_token]


async def test_images_are_classified_by_their_class_token(tmp_path: Path) -> None:
    async with vision_stack(write_vision_model(tmp_path, "vit", AutoModelForImageClassification)) as stack:
        (layer,) = last_layers(stack.service.service._loaded.loaded.model)
        assert layer.chosen is first_token
