"""Computes the features of images and recordings by the model's own forward.

The forward runs on the media and their placeholder tokens only, and is stopped at the call of the decoder. The features
are the embeddings at the media's positions, so no knowledge of towers and projectors is needed.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from services.engine.checkpoint import MODEL_ERRORS
from services.engine.generation.running.media import Medium
from services.engine.loading import LoadedModel
from services.engine.multimodal.inputs import batched_inputs, on_device

_KNOWN = {"input_ids", "inputs_embeds", "position_ids", "cache", "past_key_values"}


class MoreThanEmbeddings(Exception):
    """The decoder takes more from media than embeddings and positions. The message names these arguments."""


class _Reached(Exception):
    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given


class MediaEncoder:
    """Computes the features of media with the model's own forward. Used in the model's thread only."""

    def __init__(self, model: PreTrainedModel, token_ids: Sequence[int], axes: Mapping[str, int]) -> None:
        """`token_ids` are the tokens whose embeddings are replaced by features; `axes` see `batched_inputs`."""
        self._model = model
        self._axes = axes
        self._decoder = model.get_decoder()
        self._token_ids = torch.tensor(list(token_ids), device=model.device)
        self._padding_id = next(i for i in range(len(token_ids) + 1) if i not in token_ids)

    @classmethod
    def of(cls, loaded: LoadedModel) -> "MediaEncoder":
        """Returns the encoder of a model that reads media."""
        assert loaded.media is not None
        media = loaded.media
        return cls(loaded.model, [media.token_id(kind) for kind in media.kinds], media.manner.axes)

    @torch.inference_mode()
    def stand_ins(self, token_ids: Collection[int]) -> dict[int, int]:
        """Returns which of these tokens the model embeds as other ones, and as which, where they have no features.

        Muse Glimmer and Granite Speech embed a generated placeholder as token 0, before they call their decoder.

        Raises:
            MoreThanEmbeddings: The model embeds one as none of its tokens.
        """
        table: Any = self._model.get_input_embeddings()
        found: dict[int, int] = {}
        for token_id in token_ids:
            ids = torch.tensor([[token_id]], device=self.device)
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "position_ids": torch.zeros_like(ids)}
            try:
                own = self._reach(given)["inputs_embeds"]
            except MODEL_ERRORS:  # its `generate` fails on the token too
                continue
            if torch.equal(own, table(ids)):
                continue
            if not torch.equal(own, table(torch.zeros_like(ids))):
                raise MoreThanEmbeddings(f"token {token_id}")
            found[token_id] = 0
        return found

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self._model.device

    def on_module(self, call: Callable[[], None]) -> None:
        """Makes the model call `call` before each module outside of its decoder."""
        inside = {self._model.get_output_embeddings(), *self._decoder.modules()}
        for module in self._model.modules():
            if module not in inside:
                module.register_forward_pre_hook(lambda *_: call())

    @torch.inference_mode()
    def encode(self, media: Sequence[Medium]) -> list[Tensor]:
        """Returns the features `[token_count, width]` of each of several media for which `alike` is equal.

        Raises:
            MoreThanEmbeddings: The decoder needs more from the media than features.
        """
        # The code of Mistral 3 fails on a single token, as of an image of 28 x 28 pixels, but not on two such images.
        lone = len(media) == 1 and media[0].token_count == 1
        batch = on_device(batched_inputs([*media] * (1 + lone), self._padding_id, self._axes), self._model)
        embeds = self._reach(batch)["inputs_embeds"]
        found = embeds[torch.isin(batch["input_ids"], self._token_ids)][: 1 if lone else None]
        return [features.clone() for features in found.split([medium.token_count for medium in media])]

    def _reach(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Returns the arguments with which the model calls its decoder for the inputs `batch`."""
        own = threading.get_ident()

        def stop(_module: object, _arguments: object, given: dict[str, Any]) -> None:
            if threading.get_ident() == own:  # otherwise it is a step of the engine, while this call pauses
                raise _Reached(given)

        hook = self._decoder.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            self._model(**batch, use_cache=False)
        except _Reached as reached:
            if more := sorted(name for name, value in reached.given.items() if _tells_more(name, value)):
                raise MoreThanEmbeddings(", ".join(more)) from None
            return reached.given
        finally:
            hook.remove()
        raise AssertionError("a model runs its decoder")


def _tells_more(name: str, value: Any) -> bool:
    """Returns whether an argument of the decoder has information that the paged cache would lose."""
    if name == "attention_mask":  # beyond padding, a 4D mask says which tokens attend to which
        return value is not None and not (isinstance(value, Tensor) and value.dim() == 2)
    return name not in _KNOWN and _holds(value)


def _holds(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() > 1
    return isinstance(value, (list, tuple)) and any(map(_holds, value))
