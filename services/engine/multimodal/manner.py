"""Finds out how a processor composes prompts, by comparing candidates with prompts of the processor itself."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from sensorium.errors import InvalidArgument
from services.engine.checkpoint import MODEL_ERRORS, ModelRefused
from services.engine.language.prompting import PromptEncoder
from services.engine.loading import LoadedModel
from services.engine.multimodal.check import drawn_medium
from services.engine.multimodal.inputs import concatenated
from services.engine.multimodal.kind import MediaKind
from services.engine.multimodal.processor import Decoded, MediaProcessor, MediumRefused, of_tokens
from services.engine.multimodal.prompt_manner import PromptManner
from services.engine.multimodal.prompts import PromptComposer

_ALONE = ("{}Now", "Then {} again")
_SEVERAL = ("{}{}Now", "{}Now {}")
"""Texts with media at the beginning, right before a word, and side by side."""
_MANNERS = (
    PromptManner(),
    PromptManner(lays_out=True),
    PromptManner(shares_edges=True),
    PromptManner(encloses=True),
    PromptManner(numbers=True),
    PromptManner(beside=True),
)
_ERRORS = (*MODEL_ERRORS, InvalidArgument, MediumRefused)


def settle_manner(loaded: LoadedModel) -> None:
    """Sets the manner of a model's processor.

    Raises:
        ModelRefused: no manner known here reproduces the processor's prompts.
    """
    processor = loaded.media
    assert processor is not None
    composer = PromptComposer(processor, PromptEncoder(loaded.tokenizer, loaded.context_tokens), loaded.model)
    failure: Exception | None = None
    found: PromptManner | None = None
    begins, ends = _around(processor, composer)
    for kind in _MANNERS:
        needs_image = kind.lays_out and not _writes_text(processor)
        processor.manner = replace(kind, begins=begins, ends=ends, needs_image=needs_image)
        try:
            same = _same(processor, composer, _ALONE)
        except _ERRORS as error:
            if kind == PromptManner():  # others are for other processors
                failure = error
            continue
        if same:
            several = _several(processor, composer)
            if found is None or len(several.alone) < len(found.alone):
                found = several
            if not found.alone:
                break
    if found is not None:
        processor.manner = found
        return
    if failure is not None:
        told = f"what was drawn {failure}" if isinstance(failure, MediumRefused) else failure
        raise ModelRefused(f"The processor of {loaded.architecture} fails: {told}") from failure
    raise ModelRefused(
        f"The processor of {loaded.architecture} writes more around media than what stands for each of them, so it "
        "would be served other prompts than its own."
    )


def _around(processor: MediaProcessor, composer: PromptComposer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the tokens before every text, and those after it."""
    processor.manner = PromptManner()
    try:
        written, own = composer.tokens("Now", [])[0], _ids(processor.own_inputs("Now", []))
    except _ERRORS:  # of a processor that takes no text by itself
        return (), ()
    for begin in range(len(own) - len(written), -1, -1):
        end = begin + len(written)
        if own[begin:end] == written:
            return tuple(own[:begin]), tuple(own[end:])
    return (), ()


def _writes_text(processor: MediaProcessor) -> bool:
    """Returns whether the processor writes a prompt without media."""
    try:
        return bool(processor.own_inputs("Now", []))
    except _ERRORS:
        return False


def _several(processor: MediaProcessor, composer: PromptComposer) -> PromptManner:
    """Returns the processor's manner with the kinds of which it does not prepare each of several as if alone."""
    manner, alone = processor.manner, frozenset[MediaKind]()
    for kind in processor.kinds:
        try:
            axes = {**manner.axes, **dict(_axes(processor, kind))}
            processor.manner = replace(manner, axes=axes)
            same = all(_is_own(processor, composer, kind, text) for text in _SEVERAL) and not _fills_up(processor, kind)
        except _ERRORS:
            same = False
        if same:
            manner = processor.manner
        else:
            alone |= {kind}
    return replace(manner, alone=alone)


def _axes(processor: MediaProcessor, kind: MediaKind) -> Iterator[tuple[str, int]]:
    """Yields the inputs that the processor does not concatenate along the first axis, with their axis."""
    shown = _drawn(processor, kind, 2)
    alone = [processor.read(kind, decoded, b"").inputs for _, decoded in shown]
    for name, whole in processor.own_inputs(processor.shown(kind) * 2, shown).items():
        shapes = [one[name].shape for one in alone if name in one]
        if of_tokens(name) or len(shapes) < 2 or any(shape[0] != whole.shape[0] for shape in shapes):
            continue
        for axis in range(1, whole.dim()):
            if whole.shape[axis] == sum(shape[axis] for shape in shapes):
                yield name, axis


def _fills_up(processor: MediaProcessor, kind: MediaKind) -> bool:
    """Returns whether a recording beside a longer one has other features than alone.

    Granite Speech's extractor pads it with silence, without a mask for the model.
    """
    if kind is not MediaKind.AUDIO:
        return False
    shown = _drawn(processor, kind, 2)
    alone = [processor.read(kind, decoded, b"").inputs for _, decoded in shown]
    together = processor.own_inputs(processor.shown(kind) * 2, shown)
    numbers = {name: value for name, value in together.items() if value.is_floating_point()}
    axes = processor.manner.axes
    return any(
        not torch.equal(value, concatenated([one[name] for one in alone], axes.get(name, 0)))
        for name, value in numbers.items()
    )


def _same(processor: MediaProcessor, composer: PromptComposer, texts: tuple[str, ...]) -> bool:
    """Returns whether prompts of these texts equal the processor's own, for each kind of media.

    Raises what a processor raises.
    """
    return all(_is_own(processor, composer, kind, text) for kind in processor.kinds for text in texts)


def _is_own(processor: MediaProcessor, composer: PromptComposer, kind: MediaKind, text: str) -> bool:
    count = text.count("{}")
    written = text.format(*[processor.shown(kind)] * count)
    shown = _drawn(processor, kind, count)
    beside = processor.beside(kind, count)
    media = [(kind, processor.read(kind, decoded, b"", beside=beside)) for kind, decoded in shown]
    own = processor.own_inputs(written, shown)
    token_ids, ordered = composer.tokens(written, media)
    if token_ids != _ids(own):
        return False
    given = composer.inputs(token_ids, ordered)
    return all(name in given and _alike(given[name], value, own.get(f"{name}_mask")) for name, value in own.items())


def _alike(given: Tensor, own: Tensor, read: Tensor | None) -> bool:
    """Returns whether inputs are equal, except for padding.

    `read` marks what is not padding among integers, which Inkling's processor makes of sounds.
    """
    if given.shape != own.shape or own.is_floating_point():
        return given.shape == own.shape
    return torch.equal(given, own) if read is None else torch.equal(given[read.bool()], own[read.bool()])


def _drawn(processor: MediaProcessor, kind: MediaKind, count: int) -> list[tuple[MediaKind, Decoded]]:
    return [(kind, drawn_medium(kind, index, processor.sampling_rate)) for index in range(count)]


def _ids(inputs: Mapping[str, Tensor]) -> list[int]:
    return inputs["input_ids"][0].tolist()
