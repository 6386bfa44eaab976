"""Models that embed texts and images (CLIP, SigLIP) or recordings (CLAP) as vectors of one space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sensorium.errors import InvalidArgument
from services.engine.acceleration.tolerance import tolerance
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.encoders.reader import TextReader, embedded_tokens
from services.engine.images.reader import ModelInputs
from services.engine.language.texts import Truncation

_PADDED_TO = 8
"""Texts are padded to multiples of this, so that texts of similar lengths share a batch."""
_SIGLIP_TOKENS = 64
"""SigLIP was trained on texts padded to this length, and sees the padding."""


@dataclass(frozen=True, eq=False)
class TextInputs(ModelInputs):
    """What the model reads of one text."""

    token_count: int


class LoadedJointModel(Protocol):
    """A model with its tokenizer."""

    @property
    def model(self) -> PreTrainedModel:
        """The model."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Its tokenizer, which is never None here."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        ...

    @property
    def config(self) -> Any:
        """Its configuration."""
        ...

    @property
    def architecture(self) -> str:
        """The class that runs it."""
        ...

    @property
    def context_tokens(self) -> int:
        """Tokens of the longest text that it reads."""
        ...


@dataclass(frozen=True)
class Subject:
    """What such a model compares with texts, and the names that transformers has for that."""

    plural: str
    features: str
    """The model's method that returns the vectors."""
    logits: str
    """The output's field that tells how well each item fits each text."""
    scale: str = "logit_scale"
    """The model's parameter that cosine similarities are scaled with, as a logarithm."""


IMAGES = Subject("images", "get_image_features", "logits_per_image")
RECORDINGS = Subject("recordings", "get_audio_features", "logits_per_audio", "logit_scale_a")


class JointModel:
    """A joint embedding model. All methods but `compute` may be called in any thread."""

    def __init__(self, loaded: LoadedJointModel, subject: Subject = IMAGES) -> None:
        assert loaded.tokenizer is not None
        self._model: Any = loaded.model
        self._subject = subject
        for name in (subject.features, "get_text_features"):
            if not hasattr(loaded.model, name):
                raise ModelRefused(f"{loaded.architecture} does not embed {subject.plural} and texts in one space.")
        self.independent = "siglip" in loaded.config.model_type
        """Whether it scores each pair of image and text by itself (sigmoid, not softmax over the texts)."""
        context = loaded.context_tokens
        self.context_tokens = min(context, _SIGLIP_TOKENS) if self.independent else context
        self._reader = TextReader(
            loaded.tokenizer, self.context_tokens, advice="shorten it", vocabulary_size=embedded_tokens(loaded.model)
        )
        found: Any = loaded.tokenizer.pad_token_id
        self._pad_id: int = found or 0
        # Padding of another length each time must not move the tokens: it stands behind them, whatever the files say.
        self._padded_left = self.independent and loaded.tokenizer.padding_side == "left"
        # As in transformers' pipeline, the tokenizer's files tell whether the model is given a mask.
        self._masked = "attention_mask" in loaded.tokenizer.model_input_names

    def compute(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `vector` `[items, width]` of a batch of texts, images or recordings. See Compute of the runners."""
        features = getattr(self._model, "get_text_features" if "input_ids" in batch else self._subject.features)
        return {"vector": features(**batch).pooler_output.flatten(1)}

    def read(self, text: str, *, field: str) -> TextInputs:
        """Returns a text as the model's inputs.

        Raises:
            InvalidArgument: it is too long.
        """
        ids = list(self._reader.read(text, Truncation.NONE, field=field).ids)
        longest = self.context_tokens if self.independent else -(-len(ids) // _PADDED_TO) * _PADDED_TO
        padding = min(longest, self.context_tokens) - len(ids)
        tensors = {"input_ids": self._padded(ids, [self._pad_id] * padding)}
        if self._masked:
            tensors["attention_mask"] = self._padded([1] * len(ids), [0] * padding)
        return TextInputs(tensors, len(ids))

    def _padded(self, values: list[int], padding: list[int]) -> Tensor:
        return torch.tensor(padding + values if self._padded_left else values + padding)

    @torch.inference_mode()
    def logits(self, items: Tensor, texts: Tensor) -> Tensor:
        """Returns how well each item `[items, width]` fits each text `[texts, width]`: `[items, texts]`."""
        cosines = torch.nn.functional.normalize(items, dim=-1) @ torch.nn.functional.normalize(texts, dim=-1).T
        if hasattr(self._model, "temperature"):
            return cosines / self._model.temperature.float().cpu()
        logits = cosines * getattr(self._model, self._subject.scale).float().cpu().exp()
        return logits + self._model.logit_bias.float().cpu() if hasattr(self._model, "logit_bias") else logits

    @torch.inference_mode()
    def check(self, item: Mapping[str, Tensor], loaded: LoadedJointModel) -> None:
        """Compares `logits` with those of the model's own forward, on one item's inputs and two texts.

        Raises:
            ModelRefused: they differ, or the model has none.
        """
        texts = [self.read(text, field="").tensors for text in ("a cat", "a dog")]

        def batch(*inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            stacked = {name: torch.stack([each[name] for each in inputs]) for name in inputs[0]}
            return {
                name: value.to(loaded.device, loaded.model.dtype if value.is_floating_point() else None)
                for name, value in stacked.items()
            }

        items, words = batch(item), batch(*texts)
        plural = self._subject.plural
        try:
            own = getattr(self._model(**items, **words), self._subject.logits).float().cpu()
            vectors = [self.compute(inputs)["vector"].float().cpu() for inputs in (items, words)]
            found = self.logits(*vectors)
        except (*MODEL_ERRORS, InvalidArgument) as error:
            raise ModelRefused(f"{loaded.architecture} does not compare {plural} with texts: {error}") from error
        if not torch.allclose(found, own, rtol=tolerance(loaded.model.dtype), atol=1e-3):
            raise ModelRefused(f"{loaded.architecture} compares {plural} with texts in a way that is not known here.")
