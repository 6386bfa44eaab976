"""Reads voices of Pocket TTS, latents of recordings, from the operator's file or the checkpoint."""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from services.engine.checkpoint import Checkpoint, ModelRefused, find_file

_SHIPPED = "voices"
"""Folder of the checkpoint with one file per voice."""
_ADVICE = "name a file of voices with --voices, each `[frames, latents]` as the codec of its voices encodes a recording"


def pocket_voices(checkpoint: Checkpoint, named: Path | None, width: int, longest: int) -> dict[str, Tensor]:
    """Returns voices `[frames, width]`, sorted by name: those of the file `named`, or else of the checkpoint.

    The checkpoint's are read only from safetensors files that are on this machine.

    Raises:
        ModelRefused: there are no voices, or one has another shape, more than `longest` frames, or values not finite.
    """
    voices = dict(sorted(load_file(named).items())) if named else dict(_shipped(checkpoint))
    if not voices:
        raise ModelRefused(
            f"{checkpoint.source} is told who speaks by latents of a recording, and has none in "
            f"{_SHIPPED}/*.safetensors: {_ADVICE}."
        )
    for name, value in voices.items():
        fits = value.dim() == 2 and value.shape[1] == width and 0 < len(value) <= longest
        if not fits or not value.is_floating_point() or not torch.isfinite(value).all():
            raise ModelRefused(
                f"{named or checkpoint.source}: the voice {name!r} is {list(value.shape)} numbers, and the model takes "
                f"{width} for each of up to {longest} frames."
            )
    return {name: value.float() for name, value in voices.items()}


def _shipped(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    config = find_file(checkpoint, "config.json")
    for path in sorted((config.parent / _SHIPPED).glob("*.safetensors")) if config else ():
        held = load_file(path)
        if len(held) != 1:
            raise ModelRefused(
                f"{path} does not hold the latents of one voice, but {len(held)} arrays "
                f"({', '.join(sorted(held)[:3])}, …), as where the keys and values that a model made of a voice were "
                f"saved. Those are not read: {_ADVICE}."
            )
        (latents,) = held.values()
        yield path.stem, latents[0] if latents.dim() == 3 and len(latents) == 1 else latents
