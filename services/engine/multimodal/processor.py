"""Prepares decoded images and recordings for the model, by its own processor."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from services.engine.checkpoint import ModelRefused
from services.engine.device.memory_errors import lacks_memory
from services.engine.generation.running.media import Medium
from services.engine.multimodal.hearing_limit import heard_samples
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.prompt_manner import PromptManner

DURATION = "audio_duration_token"
"""Name of the placeholder for the length of a recording in VibeVoice-ASR's template."""
Decoded = Image.Image | NDArray[np.float32]
"""An image in RGB, or the samples of a recording, mono in [-1, 1] at the processor's rate."""


class MediumRefused(Exception):
    """The model cannot read a medium. The message completes a sentence that begins with the field's name."""


class MediaProcessor:
    """A checkpoint's processor. Its methods may run in any thread."""

    manner = PromptManner()

    def __init__(self, processor: Any, config: PretrainedConfig) -> None:
        """`processor` is that of the model with this `config`.

        Raises:
            ModelRefused: The model reads neither images nor recordings in prompts.
        """
        self._processor = processor
        told = {kind: _placeholder(processor, kind) for kind in MediaKind if _perceives(config, kind)}
        self._placeholders = {kind: found for kind, found in told.items() if found}
        self._token_ids = {kind: _token_id(processor, config, kind) for kind in self._placeholders}
        if not self._placeholders:
            raise ModelRefused(f"{type(processor).__name__} has no place for images or recordings in a text.")

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of prompts, with the chat template."""
        tokenizer: Any = self._processor.tokenizer
        tokenizer.chat_template = getattr(self._processor, "chat_template", None) or tokenizer.chat_template
        return tokenizer

    @property
    def kinds(self) -> list[MediaKind]:
        """The kinds of media that the model reads."""
        return list(self._placeholders)

    @property
    def sampling_rate(self) -> int:
        """The rate of recordings, in Hz; 0 if it reads none."""
        return int(self.hearing.sampling_rate) if MediaKind.AUDIO in self._placeholders else 0

    @property
    def own(self) -> Any:
        """The checkpoint's own processor."""
        return self._processor

    @property
    def reserved(self) -> list[str]:
        """Placeholders of media, which no message may contain."""
        tokenizer: Any = self._processor.tokenizer
        own = tokenizer.convert_ids_to_tokens(list(self._token_ids.values()))
        marks = [*self._placeholders.values(), *own, *self._processor.all_special_multimodal_tokens]
        return list(filter(None, dict.fromkeys([*marks, getattr(self._processor, DURATION, "")])))

    @property
    def unread_ids(self) -> frozenset[int]:
        """Tokens of videos, which are not supported: no prompt has any."""
        token = getattr(self._processor, "video_token", None)
        return frozenset() if token is None else frozenset({self._processor.tokenizer.convert_tokens_to_ids(token)})

    def placeholder(self, kind: MediaKind) -> str:
        """Returns the placeholder that chat templates write for a medium."""
        return self._placeholders[kind]

    def shown(self, kind: MediaKind) -> str:
        """Returns the placeholder with the begin and end tokens that it needs."""
        if not self.manner.encloses:
            return self._placeholders[kind]
        start, end = (getattr(self._processor, f"{kind.value}_{edge}_token") for edge in ("start", "end"))
        return f"{start}{self._placeholders[kind]}{end}"

    def token_id(self, kind: MediaKind) -> int:
        """Returns the token whose embeddings are replaced by a medium's features."""
        return self._token_ids[kind]

    def beside(self, kind: MediaKind, images: int) -> bool:
        """Returns whether a medium in a prompt with so many images is prepared differently than alone."""
        return self.manner.beside and kind is MediaKind.IMAGE and images > 1

    def read(self, kind: MediaKind, decoded: Decoded, digest: bytes, *, beside: bool = False) -> Medium:
        """Returns a medium prepared for the model: alone, or `beside` others.

        Raises:
            MediumRefused: The model cannot read a medium of its size or length.
        """
        try:
            found = self._processor(
                text=self.shown(kind) * (1 + beside),
                return_tensors="pt",
                add_special_tokens=False,
                return_text_replacement_offsets=True,
                **self._arguments(kind, decoded, beside=beside),
            )
        except (ValueError, ZeroDivisionError, IndexError, RuntimeError) as error:
            if lacks_memory(error):
                raise
            if isinstance(decoded, Image.Image):
                raise MediumRefused(f"cannot be prepared for the model: {error}") from error
            seconds = len(decoded) / self.sampling_rate
            raise MediumRefused(f"is {seconds:.3g} s long, which the model makes nothing of") from error
        told = found.pop("text_replacement_offsets", None)
        inputs = _of_first(_tensors(found)) if beside else _tensors(found)
        replacement = told[0][0]["replacement"] if told else self._text_of(inputs["input_ids"][0].tolist())
        count = int((inputs["input_ids"] == self._token_ids[kind]).sum())
        if not count:
            raise MediumRefused("is too short or too small for the model: nothing of it would be left")
        seconds = None if isinstance(decoded, Image.Image) else len(decoded) / self.sampling_rate
        return Medium(digest, replacement, count, inputs, seconds)

    def laid_out(self, text: str, images: int) -> str:
        """Applies the processor's changes to a prompt's text with this many images, before replacing placeholders.

        Raises what a processor raises that was made for other arguments.
        """
        if not (self.manner.lays_out and images):
            return text
        blank = Image.new("RGB", (1, 1))
        return self._processor.prepare_inputs_layout(images=[[blank] * images], text=[text])[1][0]

    def beginning(self, text: str) -> list[int]:
        """Returns the tokens to put before those of a prompt that a template has written."""
        tokenizer: Any = self._processor.tokenizer
        begins = tokenizer.decode(self.manner.begins, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return [] if text.startswith(begins) else list(self.manner.begins)

    def numbered(self, replacement: str, number: int) -> str:
        """Puts the image's number in the prompt into `replacement`, which was made for a single image.

        Raises what a processor raises that was made for other arguments.
        """
        if not self.manner.numbers:
            return replacement
        start, end = self._processor.image_id_start_token, self._processor.image_id_end_token
        return replacement.replace(f"{start}0{end}", f"{start}{number}{end}", 1)

    def joined(self, text: str) -> str:
        """Applies the processor's changes where replaced media touch each other or a word.

        Raises what a processor raises that was made for other arguments.
        """
        if not self.manner.shares_edges:
            return text
        edge: str = self._processor.fake_image_token
        return re.sub(rf"{re.escape(edge)}(?=[^\s<])", f"{edge} ", text.replace(edge * 2, edge))

    def told_of(self, name: str, token_ids: Tensor) -> Tensor | None:
        """Returns the per-token input `name` for token ids `[1, n]`; None if it does not depend on these alone."""
        told = getattr(self._processor, f"create_{name}", None)
        return None if told is None else torch.as_tensor(told(token_ids.tolist())).to(token_ids.dtype)

    def own_inputs(self, text: str, shown: Sequence[tuple[MediaKind, Decoded]]) -> dict[str, Tensor]:
        """Returns the processor's own inputs for a text of a template with placeholders.

        Raises what a processor raises.
        """
        images = [decoded for kind, decoded in shown if kind is MediaKind.IMAGE]
        media: dict[str, Any] = {"images": [images]} if images else {}  # nested by text, as in `apply_chat_template`
        if sounds := [decoded for kind, decoded in shown if kind is MediaKind.AUDIO]:
            media |= {"audio": sounds, "sampling_rate": self.sampling_rate}
        asked: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
        start = self._processor.tokenizer.bos_token
        if start is not None and text.startswith(start):
            asked["add_special_tokens"] = False  # as the processor's own `apply_chat_template` does
        try:
            found = self._processor(**asked, **media)
        except ValueError:
            if not images:
                raise
            found = self._processor(**asked, **media | {"images": images})  # GOT-OCR2's takes a flat list only
        return _tensors(found)

    def _text_of(self, token_ids: list[int]) -> str:
        """Decodes the tokens of a replacement to a text that tokenizes to the same ids.

        Raises:
            MediumRefused: There is no such text.
        """
        tokenizer: Any = self._processor.tokenizer
        text = tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if tokenizer(text, add_special_tokens=False)["input_ids"] != token_ids:
            raise MediumRefused("cannot be written into a text by this model's processor")
        return text

    def _arguments(self, kind: MediaKind, decoded: Decoded, *, beside: bool) -> dict[str, Any]:
        if kind is MediaKind.IMAGE:
            return {"images": [[decoded, Image.new("RGB", (1, 1))]] if beside else [decoded]}
        assert isinstance(decoded, np.ndarray)
        rate = self.sampling_rate
        if len(decoded) > self._heard_samples:  # the processor would silently cut it off
            heard = self._heard_samples / rate
            raise MediumRefused(f"lasts {len(decoded) / rate:.1f} s, of which the model hears {heard:g}")
        return {"audio": [decoded], "sampling_rate": rate}

    @property
    def heard_seconds(self) -> float:
        """The longest recording that the processor reads whole, in seconds; infinite without a limit."""
        return self._heard_samples / self.sampling_rate

    @cached_property
    def _heard_samples(self) -> float:
        """The number of samples after which the processor cuts off a recording; infinite if it never does."""
        return heard_samples(self.hearing, getattr(self._processor, "max_audio_len", None), self._sound_tokens)

    def _sound_tokens(self, count: int) -> int:
        """Returns how many tokens the processor writes for `count` samples of silence."""
        silence = np.zeros(count, np.float32)
        own = self.own_inputs(self._placeholders[MediaKind.AUDIO], [(MediaKind.AUDIO, silence)])
        return int((own["input_ids"] == self._token_ids[MediaKind.AUDIO]).sum())

    @property
    def seeing(self) -> Any:
        """The image processor."""
        return self._processor.image_processor

    @property
    def hearing(self) -> Any:
        """The feature extractor of audio."""
        return getattr(self._processor, "feature_extractor", None) or self._processor.audio_processor


def of_tokens(name: str) -> bool:
    """Returns whether an input has one value per token."""
    return name in ("input_ids", "attention_mask") or name.endswith("token_type_ids")


def digest_of(kind: MediaKind, decoded: Decoded, *, beside: bool = False) -> bytes:
    """Returns the SHA-256 of decoded content and of `beside`: equal content in different formats has one digest."""
    digest = hashlib.sha256(kind.value.encode() + b" beside others" * beside)
    if isinstance(decoded, Image.Image):
        digest.update(repr((decoded.mode, decoded.size)).encode())
        digest.update(decoded.tobytes())
    else:
        digest.update(decoded.tobytes())
    return digest.digest()


def _tensors(found: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns the processor's outputs that are inputs of the model: labels are for training."""
    return {name: value for name, value in found.items() if isinstance(value, Tensor) and name != "labels"}


def _of_first(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the inputs of the first of two images in one prompt, which have equally many tokens."""
    return {
        name: value[:, : value.shape[1] // 2] if of_tokens(name) else value[: (len(value) + 1) // 2]
        for name, value in inputs.items()
    }


def _perceives(config: PretrainedConfig, kind: MediaKind) -> bool:
    """Returns whether a model reads a kind of media: some sizes of Gemma 4 read no audio but have the processor."""
    part = {MediaKind.IMAGE: "vision_config", MediaKind.AUDIO: "audio_config"}[kind]
    return getattr(config, part, kind) is not None


def _placeholder(processor: Any, kind: MediaKind) -> str | None:
    parts = {MediaKind.IMAGE: ("image_processor",), MediaKind.AUDIO: ("feature_extractor", "audio_processor")}[kind]
    if all(getattr(processor, part, None) is None for part in parts):
        return None
    told = getattr(
        processor, f"{kind.value}_placeholder_token", None
    )  # for models whose templates write another token than the model reads
    return told or getattr(processor, f"{kind.value}_token", None)


def _token_id(processor: Any, config: PretrainedConfig, kind: MediaKind) -> int:
    name = f"{kind.value}_token_id"
    found = getattr(config, name, None)
    return int(getattr(processor, name) if found is None else found)
