"""Streaming decoder for Mimi, a causal codec: audio of each frame of codes or latents as soon as it exists."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from services.engine.generation.running.encoder_decoder_runner import cache_name

FIRST_FRAMES = 6
"""Frames of the first window: about half a second."""
_MOST_FRAMES = 24
"""Upper limit of later windows, each of which is twice as long as the last."""


class CausalCodec:
    """Decodes frames piece by piece. The result equals decoding all frames at once, up to rounding.

    Convolutions get as many earlier frames again as they look back; attention keeps a KV cache.
    """

    def __init__(self, decoder: Any, latents: Callable[[Tensor], Tensor]) -> None:
        """`decoder` is that of a codec that `streams`; `latents` maps n frames to `[1, width, n]`."""
        self._decoder = decoder
        self._latents_of = latents
        transformer = decoder.decoder_transformer
        self._given = {cache_name(transformer): DynamicCache(config=transformer.config), "use_cache": True}
        self._latents = self._hidden = torch.empty(0)
        upsample = decoder.upsample.conv
        self._stride: int = upsample.stride[0]
        self._latents_back: int = (upsample.kernel_size[0] - 1) // self._stride
        self._hidden_back = _reach_back(decoder.decoder_seanet.layers)
        self._samples: int = _stride_of(decoder.decoder_seanet.layers)
        """Samples per hidden state."""

    @classmethod
    def of(cls, model: Any) -> "CausalCodec":
        """Makes one for the library's MimiModel, whose frames are codes.

        Codes beyond the codebook are clamped: a model may draw a control code, and an index error ends a process on a
        GPU.
        """
        most = model.config.codebook_size - 1
        return cls(_decoder_of(model), lambda codes: model.quantizer.decode(codes.T[None].clamp(max=most)))

    @staticmethod
    def streams(model: Any) -> bool:
        """Returns whether a codec is causal."""
        config = model.config
        return config.use_causal_conv and config.trim_right_ratio == 1 and config.pad_mode == "constant"

    def follow(self, turns: Iterable[object], frames: Sequence[Tensor]) -> Iterator[Tensor | None]:
        """Yields the audio of `frames`, a list that grows with each of `turns`; None while a window is incomplete."""
        begin, width = 0, FIRST_FRAMES
        for _ in turns:
            if len(frames) < begin + width:
                yield None
                continue
            yield self.sound(torch.stack([*frames[begin : begin + width]]))
            begin, width = begin + width, min(width * 2, _MOST_FRAMES)
        if len(frames) > begin:
            yield self.sound(torch.stack([*frames[begin:]]))

    def sound(self, frames: Tensor) -> Tensor:
        """Decodes the next frames, `[frames, codebooks or width]`, to `[samples]`."""
        latents = self._latents_of(frames.to(self._decoder.device))
        latents, back = _joined(self._latents, latents)
        self._latents = latents[..., latents.shape[-1] - min(latents.shape[-1], self._latents_back) :]
        fresh = self._decoder.upsample(latents)[..., back * self._stride :].transpose(1, 2)
        read = self._decoder.decoder_transformer(fresh, **self._given).last_hidden_state
        hidden, back = _joined(self._hidden, read.transpose(1, 2))
        self._hidden = hidden[..., hidden.shape[-1] - min(hidden.shape[-1], self._hidden_back) :]
        return self._decoder.decoder_seanet(hidden)[0, 0, back * self._samples :]


def _decoder_of(model: Any) -> Any:
    """Returns the decoder of a MimiModel; in transformers 5.17 it is spread over the model's parts."""
    if hasattr(model.decoder, "decoder_seanet"):
        return model.decoder
    return SimpleNamespace(
        upsample=model.upsample,
        decoder_transformer=model.decoder_transformer,
        decoder_seanet=model.decoder,
        device=model.device,
    )


def _joined(before: Tensor, fresh: Tensor) -> tuple[Tensor, int]:
    """Concatenates on the last axis; returns the result and the length of `before`."""
    return (torch.cat((before, fresh), dim=-1), before.shape[-1]) if len(before) else (fresh, 0)


def _reach_back(layers: Any) -> int:
    """Returns how many earlier inputs an output of these layers depends on."""
    first = 0  # index of the first input that output sample 0 depends on, layer by layer
    for layer in reversed(list(layers)):
        convolutions = [each.conv for each in getattr(layer, "block", [layer]) if hasattr(each, "conv")]
        for each in convolutions:
            if isinstance(each, torch.nn.ConvTranspose1d):
                first = -((each.kernel_size[0] - 1 - first) // each.stride[0])
            else:
                first -= (each.kernel_size[0] - 1) * each.dilation[0]
    return -first


def _stride_of(layers: Any) -> int:
    stride = 1
    for layer in layers:
        conv = getattr(layer, "conv", None)
        if isinstance(conv, torch.nn.ConvTranspose1d):
            stride *= conv.stride[0]
    return stride
