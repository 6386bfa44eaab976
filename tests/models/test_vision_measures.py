"""What the cards of the vision models count is counted right: cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.recipes.vision.boxes import centred, cornered, giou_loss
from models.recipes.vision.drawing import COLOURS, draw_scene
from models.recipes.vision.measures import (
    Found,
    average_precision,
    detection_figures,
    mask_overlap,
    matched,
    overlap,
)
from models.recipes.vision.room import draw_room, empty_room
from models.recipes.vision.segments import Segment, instance_figures, panoptic_quality

LEFT, RIGHT = (0, 0, 10, 10), (20, 0, 30, 10)


def strip(start, end, side=10):
    """A mask of some columns."""
    mask = np.zeros((side, side), bool)
    mask[:, start:end] = True
    return mask


def test_overlaps_of_boxes_and_masks():
    assert overlap(LEFT, LEFT) == 1
    assert overlap(LEFT, RIGHT) == 0
    assert overlap(LEFT, (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert mask_overlap(strip(0, 4), strip(2, 6)) == pytest.approx(1 / 3)
    assert mask_overlap(strip(0, 0), strip(0, 0)) == 1


def test_a_figure_is_found_once_and_only_under_its_label():
    twice = [Found("circle", LEFT, 0.9), Found("circle", LEFT, 0.8), Found("square", LEFT, 0.7)]
    assert matched(twice, [Found("circle", LEFT)]) == [1.0, 0.0, 0.0]


def test_detections_below_the_threshold_count_for_averaged_precision_alone():
    wanted = [[Found("circle", LEFT), Found("circle", RIGHT)]]
    found = [[Found("circle", LEFT, 0.9), Found("circle", (50, 50, 60, 60), 0.8), Found("circle", RIGHT, 0.3)]]
    figures = detection_figures(found, wanted, 0.5)
    assert (figures["precision"], figures["recall"]) == (0.5, 0.5)
    assert figures["mean IoU of found boxes"] == 1
    assert figures["mAP at IoU .5"] == pytest.approx((1 + 2 / 3) / 2)


def test_averaged_precision_of_nothing_is_nothing():
    assert average_precision([[]], [[Found("circle", LEFT)]], "circle") == 0


def test_panoptic_quality_counts_overlap_misses_and_inventions():
    wanted = [[Segment("sky", strip(0, 5)), Segment("circle", strip(5, 10))]]
    found = [[Segment("sky", strip(0, 4)), Segment("circle", strip(4, 5)), Segment("circle", strip(5, 10))]]
    # Sky: overlap 4 of 5. Circle: one perfect, one invented: 1 / (1 + 1/2).
    assert panoptic_quality(found, wanted)["panoptic quality"] == pytest.approx((0.8 + 2 / 3) / 2)
    figures = instance_figures(found, wanted)
    assert figures["things, precision"] == pytest.approx(2 / 3)
    assert figures["things, recall"] == 1


def test_boxes_survive_both_ways_and_far_boxes_lose_more():
    corners = torch.tensor([[0.1, 0.2, 0.5, 0.4]])
    assert torch.allclose(cornered(centred(corners)), corners)
    near, far = (centred(corners + shift) for shift in (0.05, 0.4))
    assert giou_loss(centred(corners), centred(corners)).item() == pytest.approx(0, abs=1e-6)
    assert giou_loss(near, centred(corners)) < giou_loss(far, centred(corners))


def test_a_drawn_figure_has_its_colour_inside_its_mask_and_a_tight_box():
    scene = draw_scene(np.random.default_rng(3), 64, 3, (8, 12))
    for figure in scene.figures:
        left, top, right, bottom = map(int, figure.box)
        assert figure.mask[top:bottom, left:right].sum() == figure.mask.sum()
        assert figure.mask[top].any() and figure.mask[:, right - 1].any()
        shown = scene.pixels[figure.mask & (figure.coverage == 1)]
        assert np.abs(shown - np.array(COLOURS[figure.colour], float)).max() < 25


def test_a_floor_recedes_as_the_camera_sees_it():
    _, depth = empty_room(np.random.default_rng(5), horizon=20.0, wall=8.0)
    # 30.5 pixels below the horizon a slope of 30.5 / 64 falls 0.8 m: that is where the floor is.
    assert depth[50, 0] == pytest.approx(0.8 * 64 / 30.5)
    assert np.all(depth[:20] == 8.0)
    assert np.all(np.diff(depth[:, 7]) <= 0)


def test_a_board_stands_where_its_depth_says():
    room = draw_room(np.random.default_rng(5))
    _, floor = empty_room(np.random.default_rng(5), *np.random.default_rng(5).uniform((16, 5), (28, 10)))
    boards = {far for far in np.unique(room.depth) if not np.isclose(far, floor).any()}
    assert boards
    for far in boards:
        foot = np.nonzero((room.depth == far).any(1))[0].max()
        assert floor[foot : foot + 2, 0].min() <= far + 0.05 and floor[foot, 0] >= far * 0.9
