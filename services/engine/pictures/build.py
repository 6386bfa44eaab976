"""Builds the engine's parts for an image-to-text model."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from services.engine.acceleration.replacement import accelerated
from services.engine.checkpoint import ModelRefused
from services.engine.device.memory import memory_of
from services.engine.generation.attention.cpu import PAGE_SIZE
from services.engine.generation.attention.encoder_decoder import PagedCaches
from services.engine.generation.building.encoder_decoder_build import layouts_of, verify_encoder_decoder
from services.engine.generation.building.generated import Reference, continued
from services.engine.generation.building.parts import EngineSettings, Parts, cache_bytes, choose_backend, page_count
from services.engine.generation.building.serial_verification import verify_serial
from services.engine.generation.building.verification import NotPaged
from services.engine.generation.cache.kv_cache import KVCache
from services.engine.generation.cache.module_memory import ModuleMemory
from services.engine.generation.cache.page_pool import PagePool
from services.engine.generation.cache.state_size import StateSize, state_size
from services.engine.generation.running.encoder_decoder_runner import EncoderDecoderRunner, cache_name
from services.engine.generation.running.media import Medium, PromptMedia
from services.engine.generation.running.serial_runner import Continuation, SerialRunner
from services.engine.generation.sequence import CachedTokens
from services.engine.loading import LoadedModel
from services.engine.pictures.encoder import PictureEncoder
from services.engine.pictures.loading import noise_images
from services.engine.pictures.model import PictureModel
from services.engine.pictures.reader import medium_of

_QUESTION = "what is it"
_PROMPT = 5
"""Tokens of the test prompts, after the start tokens."""


class PictureSource:
    """The Source of an image-to-text model: its decoder attends to a picture's features."""

    def __init__(self, pictures: PictureModel) -> None:
        assert pictures.decoder is not None
        self._pictures = pictures
        self._decoder: Any = pictures.decoder
        self._cache_name = cache_name(pictures.decoder)

    @property
    def decoder(self) -> Any:
        """See Source."""
        return self._decoder

    def read(self, sequence: CachedTokens) -> Tensor:
        """See Source."""
        return self._pictures.states(features_of(sequence))

    def run(self, features: Tensor, input_ids: Tensor) -> Any:
        """Runs the decoder on tokens from the start, with the model's own cache."""
        states = self._pictures.states(features)
        return self._decoder(input_ids=input_ids, encoder_hidden_states=states, use_cache=True, return_dict=True)

    def decode(self, token_ids: Tensor, mask: Tensor, states: Tensor, caches: PagedCaches) -> Tensor:
        """See Source."""
        output = self._decoder(
            input_ids=token_ids,
            attention_mask=mask,
            encoder_hidden_states=states,
            use_cache=True,
            **{self._cache_name: caches},
        )
        return output.logits


def features_of(sequence: CachedTokens) -> Tensor:
    """Returns the encoded features of a sequence's picture, `[tokens, width]` (GIT: the pixels)."""
    assert sequence.media is not None
    (medium,) = sequence.media.media
    assert medium.features is not None
    return medium.features


def picture_parts(loaded: LoadedModel, settings: EngineSettings) -> Parts:
    """Returns the engine's parts: with a paged KV cache if the decoder's results stay the same, else serial.

    Raises:
        ModelRefused: the results differ from the model's own `generate` in both cases.
    """
    assert loaded.pictures is not None
    references = [_reference(loaded, index) for index in range(len(noise_images()))]
    try:
        return _paged_parts(loaded, loaded.pictures, settings, references)
    except NotPaged as reason:
        return _serial_parts(loaded, loaded.pictures, settings, references, str(reason))


def _paged_parts(
    loaded: LoadedModel, pictures: PictureModel, settings: EngineSettings, references: list[Reference]
) -> Parts:
    if pictures.decoder is None:
        raise NotPaged(f"{loaded.architecture} reads a picture before the tokens of its decoder.")
    source = PictureSource(pictures)
    layouts = layouts_of(loaded, source.decoder.config, partial(source.run, _features(references[0])))
    token_bytes = sum(layout.bytes_per_token for layout in layouts.values())
    pages = page_count(loaded, settings, StateSize(0, token_bytes))
    pool = PagePool(pages, PAGE_SIZE)
    cache = KVCache(layouts, pages, PAGE_SIZE, loaded.device)
    runner = EncoderDecoderRunner(source, choose_backend(loaded, cache), cache)
    accelerated(loaded, lambda: verify_encoder_decoder(loaded, runner, pool, references))
    reason = "Its decoder, run through the paged cache, was compared with its own generate at load."
    return Parts(runner, pool, settings.max_sequences, False, False, True, reason)


def _serial_parts(
    loaded: LoadedModel, pictures: PictureModel, settings: EngineSettings, references: list[Reference], reason: str
) -> Parts:
    def given(sequence: CachedTokens) -> Mapping[str, Any]:
        return pictures.generator_arguments(features_of(sequence))

    memory = ModuleMemory(pictures.generator, lambda: _reference(loaded, 0))
    continuation = accelerated(loaded, lambda: verify_serial(loaded, memory, references, given))
    size = state_size(loaded, memory, pictures.generator_arguments(_features(references[0])))
    room = cache_bytes(settings, memory_of(loaded.device))
    sequences = min(settings.max_sequences, max(room // max(size.fixed_bytes, 1), 1))
    pool = PagePool(page_count(loaded, settings, size, sequences), PAGE_SIZE)
    runner = SerialRunner(pictures.generator, continuation, memory, given)
    told = f"{reason} Each sequence has the model's own cache, which was compared with its own generate at load."
    return Parts(runner, pool, sequences, continuation is not Continuation.CHUNKS, False, False, told)


@torch.inference_mode()
def _reference(loaded: LoadedModel, index: int) -> Reference:
    """Returns the model's own `generate` output for a test picture and, unless it reads questions, a random prompt."""
    pictures = loaded.pictures
    assert pictures is not None
    medium = medium_of(pictures, noise_images()[index], _QUESTION, b"")
    drawn = torch.randint(loaded.vocabulary_size, (_PROMPT,), generator=torch.Generator().manual_seed(index)).tolist()
    prompt = [*pictures.starts, *([] if pictures.reads_question else drawn)]
    tokens = torch.tensor([prompt], device=loaded.device)
    inputs = {
        name: value.to(loaded.device, loaded.model.dtype if value.is_floating_point() else None)
        for name, value in medium.inputs.items()
    }
    (features,) = PictureEncoder(pictures).encode([medium])
    made = continued(loaded, pictures.arguments(inputs, tokens), (0,) * medium.token_count, _alone(medium))
    if made.prompt != prompt:
        raise ModelRefused(f"{loaded.architecture} changes its prompts in a way that is not known here.")
    medium.take(features)
    return made


def _alone(medium: Medium) -> PromptMedia:
    return PromptMedia([medium], [])


def _features(reference: Reference) -> Tensor:
    return features_of(CachedTokens([], media=reference.media))
