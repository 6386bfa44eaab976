"""Runs Segment Anything models (SAM, SAM 2) on an image and its prompts."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.engine.batching.job import Item
from services.engine.batching.numbers import are_numbers
from services.engine.images.loading import LoadedVisionModel
from services.engine.images.reader import ModelInputs
from services.engine.segmentation.prompt import Prompt
from services.engine.segmentation.region import Region
from services.engine.segmentation.upscaling import Size, logit

_AT_ONCE = 16
"""Prompts decoded in one call of the model, to limit memory: each takes some megabytes."""


@dataclass(frozen=True, eq=False)
class PromptedInputs(ModelInputs):
    """The model's inputs for an image, and its prompts."""

    prompts: Sequence[Prompt]
    size: Size
    """Height and width of the image as it was sent."""
    all_candidates: bool
    """Whether all candidates of a prompt are returned, or only the best."""

    @property
    def length(self) -> int:
        """See ModelInputs. Each prompt counts as one image, because its outputs take as much memory."""
        return super().length + len(self.prompts)

    @property
    def read_size(self) -> list[int]:
        """Height and width of the resized image in the model's input. SAM pads the rest; SAM 2 stretches the image."""
        told = self.tensors.get("reshaped_input_sizes")
        return list(self.tensors["pixel_values"].shape[-2:]) if told is None else told.tolist()


class PromptRunner:
    """A BatchRunner for PromptedInputs. It encodes each image once, however many prompts it has.

    Its output for an item is a list with a pair for each prompt: mask logits `[candidates, height, width]` and scores
    `[candidates]`, best first, both in float32 on the CPU; None if they are NaN.
    """

    def __init__(self, loaded: LoadedVisionModel) -> None:
        self._model: Any = loaded.model
        self._device = loaded.device
        self._dtype = loaded.model.dtype

    def run(self, items: Sequence[Item]) -> Sequence[Any]:
        """See BatchRunner."""
        outputs = self.compute(items)
        return [output if all(are_numbers(each) for pair in output for each in pair) else None for output in outputs]

    @torch.inference_mode()
    def compute(self, items: Sequence[Item]) -> Sequence[list[tuple[Tensor, Tensor]]]:
        """Returns the outputs of `run`, NaN or not."""
        pixels = torch.stack([item.inputs.tensors["pixel_values"] for item in items])
        found = self._model.get_image_embeddings(pixels.to(self._device, self._dtype))
        if isinstance(found, Tensor):
            embeddings = [found[i : i + 1] for i in range(len(items))]
        else:  # SAM 2 has features at several scales
            embeddings = [[scale[i : i + 1] for scale in found] for i in range(len(items))]
        return [self._decoded(embeddings[i], item.inputs) for i, item in enumerate(items)]

    def _decoded(self, embedding: Tensor | list[Tensor], inputs: PromptedInputs) -> list[tuple[Tensor, Tensor]]:
        # Prompts with different numbers of points are decoded separately: padding points would change the masks.
        alike: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
        for i, prompt in enumerate(inputs.prompts):
            alike[len(prompt.points), prompt.box is not None].append(i)
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for places in alike.values():
            for start in range(0, len(places), _AT_ONCE):
                chosen = places[start : start + _AT_ONCE]
                output = self._model(image_embeddings=embedding, **self._side_by_side(inputs, chosen))
                for place, masks, scores in zip(chosen, output.pred_masks[0], output.iou_scores[0], strict=True):
                    found[place] = _best_first(masks, scores, 0 if inputs.all_candidates else 1)
        return [found[i] for i in range(len(inputs.prompts))]

    def _side_by_side(self, inputs: PromptedInputs, places: Sequence[int]) -> dict[str, Tensor]:
        prompts = [inputs.prompts[place] for place in places]
        height, width = inputs.read_size
        across, down = width / inputs.size[1], height / inputs.size[0]
        found: dict[str, Tensor] = {}
        if prompts[0].points:
            points = [[(x * across, y * down) for x, y in prompt.points] for prompt in prompts]
            found["input_points"] = torch.tensor([points], dtype=torch.float64, device=self._device)
            found["input_labels"] = torch.tensor(
                [[list(prompt.inside) for prompt in prompts]], device=self._device
            ).long()
        if prompts[0].box is not None:
            boxes = [
                (x_min * across, y_min * down, x_max * across, y_max * down)
                for x_min, y_min, x_max, y_max in (prompt.box for prompt in prompts if prompt.box is not None)
            ]
            found["input_boxes"] = torch.tensor([boxes], dtype=torch.float64, device=self._device)
        return found


def _best_first(masks: Tensor, scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Returns the `most` candidates with the highest scores (0: all), best first, copied to the CPU."""
    order = scores.argsort(descending=True, stable=True)[: most or None]
    return masks[order].to("cpu", torch.float32), scores[order].to("cpu", torch.float32)


def prompted_regions(
    processor: Any, output: Sequence[tuple[Tensor, Tensor]], inputs: PromptedInputs, min_score: float, threshold: float
) -> Iterator[Region]:
    """Yields a region for each candidate of each prompt with at least `min_score`; the processor scales the masks.

    A pixel belongs to the region if its probability is at least `threshold`.
    """
    cut = logit(threshold)
    sizes = {"original_sizes": [inputs.size], "reshaped_input_sizes": [inputs.read_size]}
    for place, (masks, scores) in enumerate(output):
        for mask, score in zip(
            masks, scores.clamp(0, 1).tolist(), strict=True
        ):  # a predicted IoU, which may leave [0, 1]
            if score >= min_score:
                (scaled,) = processor.post_process_masks([mask[None, None]], **sizes, binarize=False)
                yield Region(None, score, (scaled[0, 0] >= cut).numpy(), prompt=place)
