"""A model in float16 may overflow on one input. Its likeliest token would then be the first of the vocabulary, and its
detections an empty list, because no comparison with NaN holds.
"""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.errors import Internal
from services.engine.audio.runner import AudioRunner
from services.engine.batching.job import Item
from services.engine.batching.numbers import are_numbers
from services.engine.detection.open_labels import OpenLabelModel
from services.engine.detection.phrases import compute_phrases
from services.engine.encoders.outputs import apart, read_logits
from services.engine.images.reader import ModelInputs
from services.engine.images.runner import ImageRunner
from services.engine.segmentation.prompt import Prompt
from services.engine.segmentation.prompts import PromptedInputs, PromptRunner
from tests.services.engine.batching.bench import FakeRunner, bench, items, settle

NAN, INF = float("nan"), float("inf")
LOADED: Any = SimpleNamespace(
    device=torch.device("cpu"), model=SimpleNamespace(dtype=torch.float32), extractor=SimpleNamespace()
)


class Overflowing(FakeRunner):
    """Has no numbers for NaN; one that is in a batch spreads to the item behind it."""

    def run(self, items: Any) -> Any:
        outputs = super().run(items)
        given = [item.inputs for item in items]
        return [None if NAN in given[max(place - 1, 0) : place + 1] else output for place, output in enumerate(outputs)]


async def test_only_the_request_that_has_no_numbers_by_itself_fails() -> None:
    async with bench() as made:
        made.batcher._runner = made.runner = Overflowing()
        held = await made.hold()
        before, bad, behind = made.run(items(1, 2)), made.run(items(3, NAN)), made.run(items(4, 5))
        await settle()
        made.runner.open.set()
        with pytest.raises(Internal):
            await bad
        assert [each.outputs for each in await asyncio.gather(held, before, behind)] == [
            [["held"]], [[1], [2]], [[4], [5]],
        ]  # fmt: skip
        assert len(made.runner.batches) == 4  # those two, and the two without numbers by themselves
        assert made.metric("requests_total", finish_reason="error") == 1


@pytest.mark.parametrize("wrong", [NAN, INF, -INF])
@pytest.mark.parametrize("kind", [AudioRunner, ImageRunner])
def test_tensors_of_other_items_are_answered(kind: Any, wrong: float) -> None:
    runner = kind(LOADED, lambda batch: {"ids": batch["x"].argmax(-1), "vector": batch["x"] * 2})
    given = [Item(ModelInputs({"x": torch.tensor([1.0, value])})) for value in (3.0, wrong, 4.0)]
    first, bad, last = runner.run(given)
    assert (first["vector"].tolist(), bad, last["vector"].tolist()) == ([2.0, 6.0], None, [2.0, 8.0])
    assert runner.run(given[1:2]) == [None]


@pytest.mark.parametrize("name", ["logits", "classes"])
def test_classes_may_be_ruled_out(name: str) -> None:
    runner = ImageRunner(LOADED, lambda batch: {name: batch["x"]})
    ruled_out, none_left = ([-INF, 0.0], [-INF, -INF])
    rows = [ruled_out, none_left, [NAN, 0.0], [INF, 0.0], [1.0, 2.0]]
    outputs = runner.run([Item(ModelInputs({"x": torch.tensor(row)})) for row in rows])
    assert [output is not None for output in outputs] == [True, False, False, False, True]
    assert outputs[0][name].tolist() == ruled_out
    texts = read_logits(SimpleNamespace(logits=torch.tensor(rows)), *[None] * 2)  # type: ignore[arg-type]
    assert [text is not None for text in texts] == [True, False, False, False, True]


def test_tokens_may_be_ruled_out_as_the_ends_of_an_answer() -> None:
    pieces = [torch.tensor(rows) for rows in ([[-INF, -INF], [0.0, 1.0]], [[-INF, 0.0], [-INF, 1.0]], [[NAN, 0.0]])]
    found = apart(pieces, 0)
    assert [piece is not None for piece in found] == [True, False, False]
    assert [piece is not None for piece in apart(pieces, -1)] == [False, True, False]


def test_nothing_and_integers_are_numbers() -> None:
    assert are_numbers(torch.zeros(0, 4))
    assert are_numbers(torch.tensor([2**62]))
    assert are_numbers(torch.tensor(1.0)) and not are_numbers(torch.tensor(NAN))


class LabelFinder:
    """Reads labels as one text or each by itself. Its logits, for one box, are the image."""

    @property
    def base_model(self) -> Any:
        return self

    def get_text_features(self, input_ids: Tensor, _mask: Tensor) -> Any:
        return SimpleNamespace(pooler_output=input_ids.float())

    def image_embedder(self, pixels: Tensor) -> tuple[Tensor]:
        return (pixels[:, None, None],)

    def class_predictor(self, features: Tensor, _labels: Tensor) -> tuple[Tensor, None]:
        return features, None

    def box_predictor(self, features: Tensor, _map: Tensor) -> Tensor:
        return torch.zeros(len(features), 1, 4)

    def __call__(self, pixel_values: Tensor, **_text: Tensor) -> Any:
        longest = torch.nn.functional.pad(pixel_values[:, None], (0, 3), value=-INF)
        return SimpleNamespace(logits=longest, pred_boxes=self.box_predictor(pixel_values, longest))


@pytest.mark.parametrize("compute", [partial(compute_phrases, LabelFinder()), OpenLabelModel(LabelFinder()).compute])
def test_a_label_that_fits_infinitely_well_or_badly_is_no_result(compute: Any) -> None:
    """The sigmoid of it would be 1 or 0, as of others."""
    text = torch.ones((1, 2) if isinstance(compute, partial) else (1, 2, 1), dtype=torch.long)[0]
    rows = [[0.0, 1.0], [INF, 0.0], [-INF, 0.0], [2.0, -3.0]]
    outputs = ImageRunner(LOADED, compute).run(
        [
            Item(ModelInputs({"pixel_values": torch.tensor(row), "input_ids": text, "attention_mask": text}))
            for row in rows
        ]
    )
    assert [output is not None for output in outputs] == [True, False, False, True]
    assert outputs[3]["fits"].tolist() == rows[3:]


class Segmenter:
    """Its masks of an image are the image; its scores are the image's first pixels."""

    dtype = torch.float32

    def get_image_embeddings(self, pixels: Tensor) -> Tensor:
        return pixels

    def __call__(self, image_embeddings: Tensor, **_prompts: Any) -> Any:
        (masks,) = image_embeddings
        return SimpleNamespace(pred_masks=masks[None, None], iou_scores=masks[None, None, :, 0, 0])


def test_regions_of_other_images_are_answered() -> None:
    runner = PromptRunner(SimpleNamespace(model=Segmenter(), device=torch.device("cpu")))  # type: ignore[arg-type]
    images = torch.arange(24.0).reshape(3, 2, 2, 2)
    images[1, 0, 1, 1] = NAN
    prompts = [Prompt([(1, 1)], [True])]
    outputs = runner.run(
        [Item(PromptedInputs({"pixel_values": image}, prompts, (2, 2), all_candidates=True)) for image in images]
    )
    assert [output is not None for output in outputs] == [True, False, True]
    assert torch.equal(outputs[2][0][0], images[2].flip(0))
