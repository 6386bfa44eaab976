"""Rounds this rank's part of each weight to 8 bits while transformers reads it, so that few are wide in memory at a
time.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from services.engine.experts import weight_names
from services.engine.narrow.model import narrow_count, replaceable, rows_suit
from services.engine.narrow.numbers import Narrowed, NarrowKind, narrowed, narrowed_by_one
from services.engine.parallel.styles import are_divided_experts, local, style_of

_METHOD = "sensorium-narrow"


class NarrowConfig(QuantizationConfigMixin):
    """Makes transformers read weights with a NarrowReader."""

    def __init__(self, kind: NarrowKind) -> None:
        self.quant_method = _METHOD  # type: ignore[assignment]
        self.kind: NarrowKind = kind


class NarrowReader(HfQuantizer):
    """Keeps this rank's rounded numbers of each weight; the model keeps an unused parameter of the whole shape."""

    def __init__(self, quantization_config: NarrowConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        self.kind: NarrowKind = quantization_config.kind
        self.read: dict[str, Narrowed] = {}
        """Rounded numbers by weight name."""
        self._names: frozenset[str] | None = None

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **_: Any) -> bool:
        """Returns whether that weight is rounded. transformers calls it once the model's parallel plan is applied."""
        if self._names is None:
            self._names = _rounded_names(model)
        return param_name in self._names

    def param_element_size(self, model: PreTrainedModel, param_name: str, param: Tensor) -> float:
        """Returns the bytes per number after loading, by which transformers allocates memory."""
        return 1 if self.param_needs_quantization(model, param_name) else param.element_size()

    def get_quantize_ops(self) -> ConversionOps:
        """Returns the operation that rounds a weight."""
        return _Rounding(self)

    @property
    def is_trainable(self) -> bool:  # type: ignore[override]
        """Whether rounded weights can be trained."""
        return False

    def is_serializable(self) -> bool:  # type: ignore[override]
        """Returns whether rounded weights can be saved."""
        return False


register_quantization_config(_METHOD)(NarrowConfig)
register_quantizer(_METHOD)(NarrowReader)


class _Rounding(ConversionOps):
    def __init__(self, reader: NarrowReader) -> None:
        self._reader = reader

    @torch.no_grad()
    def convert(  # type: ignore[override]
        self, input_dict: dict[str, Any], *, model: PreTrainedModel, missing_keys: set[str], **_: Any
    ) -> dict[str, Any]:
        """Takes the weights that are rounded, this rank's part of each, and returns the others to transformers."""
        left: dict[str, Any] = {}
        for name in list(input_dict):
            given, reader = input_dict.pop(name), self._reader
            if not reader.param_needs_quantization(model, name):
                left[name] = given
                continue
            weight: Tensor = given[0] if isinstance(given, list) else given
            if weight.dim() == 2:
                reader.read[name] = narrowed(weight, reader.kind)
            else:
                reader.read[name] = narrowed_by_one(weight, reader.kind, weight.device)
            missing_keys.discard(name)
            model.get_parameter(name)._is_hf_initialized = True  # type: ignore[attr-defined]
        return left


def reader_of(model: PreTrainedModel) -> NarrowReader | None:
    """Returns the NarrowReader that has read the model's weights, or None."""
    reader = getattr(model, "hf_quantizer", None)
    return reader if isinstance(reader, NarrowReader) else None


def rounded_count(model: PreTrainedModel) -> int:
    """Returns the number of 8-bit weights, counted over all ranks if they are divided."""
    reader = reader_of(model)
    if reader is None:
        return narrow_count(model)
    return sum(model.get_parameter(name).numel() for name in reader.read)


def _rounded_names(model: PreTrainedModel) -> frozenset[str]:
    """Returns the names of weights that are divided by outputs or by inputs, or not at all."""
    found: set[str] = set()
    tied = {*model.all_tied_weights_keys.keys(), *model.all_tied_weights_keys.values()}
    for module, places in replaceable(model).items():
        if len(places) > 1:
            continue
        (place,) = places
        if type(module) is nn.Linear:
            names = [f"{place}.weight"] if style_of(model, place) in (None, "colwise", "rowwise") else []
        elif are_divided_experts(model, place, module) and not module.is_transposed:
            names = [f"{place}.{name}" for name in weight_names(module)]
        else:
            continue
        weights = [local(model.get_parameter(name)) for name in names]
        if not tied.intersection(names) and all(rows_suit(each.shape) and each.is_floating_point() for each in weights):
            found.update(names)
    return frozenset(found)
