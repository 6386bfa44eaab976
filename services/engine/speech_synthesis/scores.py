"""Checks the numbers by which a model chooses codes, lengths or an end: nobody hears that these were NaN."""

from typing import Any

import torch
from torch import Tensor, nn

_HEADS = frozenset(
    {
        "lm_head",  # Bark, CSM
        "lm_heads",  # Bark, MusicGen
        "codebooks_head",  # CSM
        "logits_dense",  # Dia
        "audio_lm_head",  # Higgs Audio
        "eos_head",  # Pocket TTS
        "prob_out",  # SpeechT5
        "duration_predictor",  # VITS
    }
)
"""Names of the layers that make such numbers."""


def require_numbers(model: nn.Module) -> None:
    """Makes the model raise ArithmeticError where one of these numbers is NaN or infinite.

    Audio that is NaN is found as such, but a code chosen by NaN is a code like any other.
    """
    for part in model.modules():
        for name, head in part.named_children():
            if name in _HEADS:
                for each in head if isinstance(head, nn.ModuleList) else (head,):
                    each.register_forward_hook(_require)


def _require(_head: Any, _given: Any, made: Tensor) -> None:
    if not torch.isfinite(made).all():
        raise ArithmeticError("its scores are NaN or infinite")
