"""A tiny base model with unmerged LoRA adapters, and reference models that compute the same."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from services.engine.adapters.named import read_named, with_adapters
from services.engine.checkpoint import TRUST_NOTHING
from services.engine.loading import LoadedModel, load_language_model
from tests.tiny.adapters import add_beside, factors, write_adapter
from tests.tiny.language_models import write_checkpoint

LAYERS = ("_proj", "c_attn", "c_fc")
CPU = torch.device("cpu")
NAMES = ("wide", "root", "part", "")
"""The last one, empty, is the base model."""


@dataclass
class Adapted:
    """A base model with unmerged adapters, and for each adapter's name a reference model that applies it."""

    base: Path
    places: dict[str, str]
    """The folder of each adapter, by name."""
    own: dict[str, PreTrainedModel]

    def load(self, dtype: str = "float32", device: torch.device = CPU) -> LoadedModel:
        """Loads the model with all its adapters, unmerged."""
        loaded = load_language_model(str(self.base), revision=None, device=device, dtype=dtype)
        return with_adapters(loaded, read_named(self.places, TRUST_NOTHING), TRUST_NOTHING)

    def generated(self, name: str, prompt: list[int], **options: Any) -> list[int]:
        asked = torch.tensor([prompt])
        options = {"do_sample": False, "max_new_tokens": 8} | options
        return self.own[name].generate(asked, **options)[0, len(prompt) :].tolist()

    @torch.no_grad()
    def logits(self, name: str, tokens: list[int]) -> Tensor:
        return self.own[name](input_ids=torch.tensor([tokens])).logits[0]


def adapted(folder: Path, model: str = "llama") -> Adapted:
    """Writes a model with three adapters: over every layer, over attention only, and over one layer only."""
    base = write_checkpoint(folder / "base", model)
    plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    kinds: dict[str, tuple[dict[str, Tensor], dict[str, Any], float]] = {
        "wide": (factors(plain, *LAYERS), {"alpha_pattern": {"ignored": 3}}, 6 / 4),
        "root": (factors(plain, "q_proj", "v_proj", "c_attn", rank=9), {"r": 9, "use_rslora": True}, 6 / 3),
        "part": (factors(plain, "1.self_attn.o_proj", "1.attn.c_proj", rank=2), {"r": 2, "lora_alpha": 8}, 8 / 2),
    }
    own: dict[str, PreTrainedModel] = {"": plain}
    places: dict[str, str] = {}
    for name, (tensors, config, scale) in kinds.items():
        # Rolled, so that no two adapters have the same weights.
        moved = {key: tensor.roll(len(own), 0) for key, tensor in tensors.items()}
        places[name] = str(write_adapter(folder / name, base, moved, **config))
        own[name] = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        add_beside(own[name], folder / name, {"": scale})
    return Adapted(base, places, own)
