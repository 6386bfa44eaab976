"""Each embedded speech model answers its shipped held-out items as well as its card says."""

from __future__ import annotations

import ctypes.util
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import torch

from models.recipes.speech.__main__ import NAMES, recipe_of
from models.recipes.speech.card import read_figures
from models.recipes.speech.items import read_items

MODELS = Path(__file__).parents[2] / "models"
SAME = 0.03
"""Another version of torch, or of the decoder of Ogg files, may round a close choice the other way."""
ALIKE = 0.1
"""What chance may put between a few shipped items and all held-out ones."""
AT_LEAST = {
    "transcriber": {"recordings without speech left empty": 0.99, "words read twice that stayed": 0.95},
    "synthesizer": {"words that come back": 0.8, "words that come back of flite's own speech": 0.95},
    "sounds": {"accuracy": 0.95},
    "sound-text": {"accuracy among 17 labels": 0.9, "accuracy among 9 kinds": 0.9},
}
AT_MOST = {
    "transcriber": {
        "word error rate, unseen espeak voices": 0.1,
        "word error rate, unseen flite voice": 0.1,
        "word error rate, all of these": 0.1,
        "the same, cut into utterances": 0.1,
        "real-time factor on one thread": 0.3,
    },
}
"""What a model trained anew has to reach as well."""
BROAD = {
    "transcriber": ("word error rate, all of these",),
    "synthesizer": ("words that come back",),
    "sounds": ("accuracy",),
    "sound-text": ("accuracy among 17 labels",),
}
"""Figures over enough shipped items to compare with all held-out ones."""
speaking = pytest.mark.skipif(
    not (shutil.which("flite") and ctypes.util.find_library("espeak-ng")), reason="needs espeak-ng and flite"
)


@cache
def figures(name):
    torch.set_num_threads(1)
    recipe = recipe_of(name)
    return recipe.measure(recipe.load(MODELS / name), read_items(MODELS / name))


def drawn_anew(name):
    """What the recipe draws in a process of its own: espeak-ng says a text a little otherwise after another one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"models.recipes.speech.{each.replace('-', '_')}" for each in NAMES])
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(draw, name).result()


def draw(name):
    return recipe_of(name).draw(14)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_items_are_answered_as_the_card_says(name):
    """The last column of the card is what the model in the folder does, but for the time it takes."""
    told = {measure: shipped for measure, (_, shipped) in read_figures(MODELS / name / "README.md").items()}
    for measure, figure in figures(name).items():
        if "real-time" not in measure:
            assert figure == pytest.approx(told[measure], abs=SAME), measure
    assert told.keys() == figures(name).keys()


@pytest.mark.parametrize("name", NAMES)
def test_shipped_items_are_like_all_held_out_ones(name):
    """The shipped items are neither easier nor harder than the many the card was measured on."""
    told = read_figures(MODELS / name / "README.md")
    for measure in BROAD[name]:
        assert figures(name)[measure] == pytest.approx(told[measure][0], abs=ALIKE), measure


@pytest.mark.parametrize("name", NAMES)
def test_the_card_claims_enough_to_be_useful(name):
    """A model trained anew and worse does not pass because its card admits it."""
    told = read_figures(MODELS / name / "README.md")
    assert all(told[measure][0] >= least for measure, least in AT_LEAST[name].items())
    assert all(told[measure][0] <= most for measure, most in AT_MOST.get(name, {}).items())


@speaking
@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_items_are_the_held_out_ones_of_the_recipe(name):
    """The recipe draws the same items again, so the measured set can be redrawn too."""
    recipe, shipped = recipe_of(name), read_items(MODELS / name)
    assert len(shipped) == recipe.shipped
    for ours, drawn in zip(shipped, drawn_anew(name), strict=False):
        assert ours.expected == json.loads(json.dumps(drawn.expected))
        assert (ours.rate, len(ours.samples)) == (drawn.rate, len(drawn.samples))
