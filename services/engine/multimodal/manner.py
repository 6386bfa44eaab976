"""How a checkpoint's prompts are put together, found by comparing some with those that its own processor writes."""

from dataclasses import replace

import torch

from sensorium.errors import InvalidArgument
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel
from services.engine.multimodal.check import drawn_medium
from services.engine.multimodal.inputs import concatenated
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.processor import MediaProcessor, MediumRefused, PromptManner
from services.engine.multimodal.prompts import PromptComposer

_ALONE = ("{}Now", "Then {} again")
_SEVERAL = ("{}{}Now", "{}Now {}")
"""Texts in which media stand at the beginning, right before a word, and beside each other."""
_MANNERS = (PromptManner(), PromptManner(lays_out=True), PromptManner(shares_edges=True))
_ERRORS = (*MODEL_ERRORS, InvalidArgument, MediumRefused)


def settle_manner(loaded: LoadedModel) -> None:
    """Sets the manner of a model's processor.

    Raises:
        ModelRefused: prompts are not the processor's own in any manner known here.
    """
    processor = loaded.media
    assert processor is not None
    composer = PromptComposer(processor, PromptEncoder(loaded.tokenizer, loaded.context_tokens), loaded.model)
    failure: Exception | None = None
    for manner in _MANNERS:
        processor.manner = manner
        try:
            same = _same(processor, composer, _ALONE)
        except _ERRORS as error:
            if manner == PromptManner():  # others are for other processors
                failure = error
            continue
        if same:
            processor.manner = replace(manner, most=None if _takes_several(processor, composer) else 1)
            return
    if failure is not None:
        told = f"what was drawn {failure}" if isinstance(failure, MediumRefused) else failure
        raise ModelRefused(f"The processor of {loaded.architecture} fails: {told}") from failure
    raise ModelRefused(
        f"The processor of {loaded.architecture} writes more around media than what stands for each of them, so it "
        "would be served other prompts than its own."
    )


def _takes_several(processor: MediaProcessor, composer: PromptComposer) -> bool:
    try:
        return _same(processor, composer, _SEVERAL) and not _fills_up(processor)
    except _ERRORS:
        return False


def _fills_up(processor: MediaProcessor) -> bool:
    """Returns whether a recording beside a longer one is prepared with other numbers than alone.

    Granite Speech's extractor fills it up with samples of silence, of which the model is not told.
    """
    kind = MediaKind.AUDIO
    if kind not in processor.kinds:
        return False
    shown = [(kind, drawn_medium(kind, index, processor.sampling_rate)) for index in range(2)]
    alone = [processor.read(kind, decoded, b"").inputs for _, decoded in shown]
    together = processor.own_inputs(processor.placeholder(kind) * 2, shown)
    numbers = {name: value for name, value in together.items() if value.is_floating_point()}
    return any(not torch.equal(value, concatenated([one[name] for one in alone])) for name, value in numbers.items())


def _same(processor: MediaProcessor, composer: PromptComposer, texts: tuple[str, ...]) -> bool:
    """Returns whether prompts of these texts are the processor's own, for media of each kind.

    Raises what a processor raises.
    """
    return all(_is_own(processor, composer, kind, text) for kind in processor.kinds for text in texts)


def _is_own(processor: MediaProcessor, composer: PromptComposer, kind: MediaKind, text: str) -> bool:
    count = text.count("{}")
    written = text.format(*[processor.placeholder(kind)] * count)
    shown = [(kind, drawn_medium(kind, index, processor.sampling_rate)) for index in range(count)]
    media = [(kind, processor.read(kind, decoded, b"")) for kind, decoded in shown]
    return composer.tokens(written, media)[0] == processor.own_inputs(written, shown)["input_ids"][0].tolist()
