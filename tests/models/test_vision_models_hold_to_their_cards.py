"""Each embedded vision model answers its shipped held-out items as well as its card says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models.recipes.vision.__main__ import NAMES, recipe_of
from models.recipes.vision.card import read_figures
from models.recipes.vision.digit_images import digit_images
from models.recipes.vision.items import read_items

MODELS = Path(__file__).parents[2] / "models"
SAME = 0.03
"""One item in forty: another version of torch may round a close choice the other way."""
ALIKE = {"abs": 0.08, "rel": 0.08}
"""What chance may put between a few shipped items and all held-out ones."""
AT_LEAST = {
    "digits": {"accuracy": 0.98},
    "image-text": {"accuracy, digits among 10 labels": 0.95, "accuracy, figures among 24 labels": 0.95},
    "detector": {"mAP at IoU .5": 0.9, "recall": 0.9},
    "open-detector": {"kinds, mAP at IoU .5": 0.74, "colours, mAP at IoU .5": 0.9, "pairs, mAP at IoU .5": 0.75},
    "semantic-segmenter": {"mean IoU": 0.95},
    "panoptic-segmenter": {"panoptic quality": 0.85, "things, recall": 0.8},
    "prompted-segmenter": {"mean IoU by a point": 0.8, "mean IoU by a box": 0.8},
    "depth": {"pixels within a factor of 1.25": 0.88},
    "upscaler": {"PSNR in dB": 35.0, "images better than bicubic": 0.95},
}
"""What a model trained anew has to reach as well."""


@cache
def served(name):
    return recipe_of(name).load(MODELS / name)


@cache
def figures(name):
    torch.set_num_threads(1)
    return recipe_of(name).measure(served(name), read_items(MODELS / name))


@pytest.mark.parametrize("name", NAMES)
def test_shipped_items_are_answered_as_the_card_says(name):
    """The last column of the card is what the model in the folder does."""
    told = read_figures(MODELS / name / "README.md")
    assert figures(name) == pytest.approx({measure: shipped for measure, (_, shipped) in told.items()}, abs=SAME)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_items_are_like_all_held_out_ones(name):
    """The shipped items are neither easier nor harder than the many the card was measured on."""
    for measure, (held_out, _) in read_figures(MODELS / name / "README.md").items():
        assert figures(name)[measure] == pytest.approx(held_out, **ALIKE), measure


@pytest.mark.parametrize("name", NAMES)
def test_the_card_claims_enough_to_be_useful(name):
    """A model trained anew and worse does not pass because its card admits it."""
    told = read_figures(MODELS / name / "README.md")
    for measure, least in AT_LEAST[name].items():
        assert told[measure][0] >= least, measure


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_items_are_the_held_out_ones_of_the_recipe(name):
    """The recipe draws the same items again, so the measured set can be redrawn too."""
    recipe = recipe_of(name)
    shipped = read_items(MODELS / name)
    assert len(shipped) == recipe.shipped
    for ours, drawn in zip(shipped[:5], recipe.draw(5), strict=False):
        assert np.array_equal(np.asarray(ours.image), np.asarray(drawn.image))
        assert ours.expected == json.loads(json.dumps(drawn.expected))
        assert all(np.array_equal(np.asarray(ours.maps[k]), np.asarray(v)) for k, v in drawn.maps.items())


def test_no_held_out_digit_is_among_those_of_training():
    """The two parts of the digits share no image."""
    training, held_out = ({image.tobytes() for image in digit_images(part)[0]} for part in (False, True))
    assert len(training) + len(held_out) >= 1790
    assert not training & held_out
