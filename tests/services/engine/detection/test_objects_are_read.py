"""Objects are read correctly from made-up scores and boxes."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    ConditionalDetrImageProcessorPil,
    DeformableDetrImageProcessorPil,
    DetrImageProcessorPil,
    Owlv2ImageProcessorPil,
    OwlViTImageProcessorPil,
    RTDetrImageProcessorPil,
    YolosImageProcessorPil,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils.generic import ModelOutput

from services.engine.detection.objects import (
    FoundObject,
    best_objects,
    likeliest_labels,
    likely_pairs,
    own_objects,
    pixel_boxes,
)
from services.engine.detection.open_labels import LabelEmbeddings
from services.engine.detection.phrases import label_scores, read_phrases
from services.engine.encoders.reader import TextReader
from tests.tiny.detectors import tensor_processor
from tests.tiny.open_detectors import bert_tokenizer

SIZE = (50, 90)
_LIMITED = (ConditionalDetrImageProcessorPil, DeformableDetrImageProcessorPil)
"""Their postprocessing returns 100 objects unless told otherwise."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "kind",
    [
        ConditionalDetrImageProcessorPil,
        DeformableDetrImageProcessorPil,
        DetrImageProcessorPil,
        RTDetrImageProcessorPil,
        YolosImageProcessorPil,
    ],
)
def test_own_classes_are_read_by_the_models_processor(kind: Any) -> None:
    processor = kind()
    logits, boxes = drawn(30, 7) * 6 - 3, drawn(30, 4, seed=1)
    found = own_objects(processor, {"logits": logits, "boxes": boxes}, SIZE, 0.3)
    output = ModelOutput(logits=logits[None], pred_boxes=boxes[None])
    every = {"top_k": logits.numel()} if kind in _LIMITED else {}
    (wanted,) = processor.post_process_object_detection(output, threshold=0.3, target_sizes=[SIZE], **every)
    assert [each.score for each in found] == wanted["scores"].tolist()
    assert [each.label for each in found] == wanted["labels"].tolist()
    assert [list(each.box) for each in found] == wanted["boxes"].tolist()
    assert len(found) > (100 if every else 3)
    # A score equal to `min_score` is enough.
    least = min(each.score for each in found)
    assert len(own_objects(processor, {"logits": logits, "boxes": boxes}, SIZE, least)) == len(found)


@pytest.mark.skipif("pp_doclayout_v3" not in CONFIG_MAPPING, reason="is not in this version of transformers")
def test_pages_are_read_without_outlines_and_order() -> None:
    output = {"logits": drawn(20, 7) * 6 - 3, "boxes": drawn(20, 4, seed=1)}
    found = own_objects(tensor_processor("PPDocLayoutV3ImageProcessor"), output, SIZE, 0.3)
    assert found == own_objects(RTDetrImageProcessorPil(), output, SIZE, 0.3)
    assert len(found) > 3


def test_boxes_are_scaled_as_the_image_was_read() -> None:
    boxes = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.25, 0.25, 0.5, 0.1]])
    assert pixel_boxes(OwlViTImageProcessorPil(), boxes, SIZE).tolist()[0] == [0, 0, 90, 50]
    # The image was padded at the bottom and at the right to a square.
    assert pixel_boxes(Owlv2ImageProcessorPil(), boxes, SIZE).tolist()[0] == [0, 0, 90, 90]


def test_a_box_has_each_label_that_fits_or_the_one_that_fits_best() -> None:
    scores, boxes = torch.tensor([[0.1, 0.9, 0.5], [0.2, 0.1, 0.3]]), drawn(2, 4)
    pairs = [(each.label, round(each.score, 2)) for each in likely_pairs(scores, boxes, 0.25)]
    assert pairs == [(1, 0.9), (2, 0.5), (2, 0.3)]
    best = [(each.label, round(each.score, 2)) for each in likeliest_labels(scores, boxes, 0.25)]
    assert best == [(1, 0.9), (2, 0.3)]


def test_objects_are_cut_to_the_image_and_the_best_come_first() -> None:
    found = [
        FoundObject(0, 0.2, (-5.0, -5.0, 10.0, 10.0)),
        FoundObject(1, 0.9, (80.0, 40.0, 100.0, 60.0)),
        FoundObject(2, 0.8, (95.0, 0.0, 99.0, 10.0)),
        FoundObject(3, 0.7, (-9.0, 0.0, 0.0, 10.0)),
        FoundObject(4, 0.9, (1.0, 1.0, 2.0, 2.0)),
        FoundObject(5, 0.6, (float("nan"), 0.0, 3.0, 3.0)),
    ]
    best = best_objects(found, SIZE, None)
    assert [(each.label, each.box) for each in best] == [
        (1, (80.0, 40.0, 90.0, 50.0)), (4, (1.0, 1.0, 2.0, 2.0)), (0, (0.0, 0.0, 10.0, 10.0))
    ]  # fmt: skip
    assert best_objects(found, SIZE, 2) == best[:2]


def test_a_label_is_as_likely_as_its_likeliest_token() -> None:
    tokens = torch.tensor([[0.9, 0.1, 0.4, 0.8, 0.3]])
    assert label_scores(tokens, [[1, 2], [4]]).tolist() == [[pytest.approx(0.4), pytest.approx(0.3)]]


def test_a_label_has_its_tokens_though_small_letters_take_more_room() -> None:
    """Lower case turns `İ` into two code points."""
    phrases = read_phrases(TextReader(bert_tokenizer(), 64), ["the İİİİİİ dog", "fox"])
    assert [len(tokens) for tokens in phrases.places] == [8, 1]


class Texts:
    """A fake model that embeds a text as its first two tokens and counts the texts it was given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def get_text_features(self, input_ids: Tensor, _mask: Tensor) -> Any:
        self.given.append(len(input_ids))
        return ModelOutput(pooler_output=input_ids[:, :2].float())


def test_a_label_is_embedded_once_while_it_is_remembered() -> None:
    texts = Texts()
    labels = LabelEmbeddings(texts, most=3)

    def of(*rows: int) -> list[list[float]]:
        ids = torch.tensor([[[3 * row, 4 * row, 9] for row in rows]])
        return labels.of(ids, torch.ones_like(ids))[0].tolist()

    assert of(1, 2, 1) == [pytest.approx([0.6, 0.8])] * 3
    assert texts.given == [2]
    of(2, 3)
    assert texts.given == [2, 1]
    of(4, 5, 6, 7)  # more than are remembered
    assert texts.given == [2, 1, 4]
    of(7, 1)
    assert texts.given == [2, 1, 4, 1]
