"""What is chosen from the labels."""

import numpy as np
import pytest

from pose3d.networks.choices import (
    ALL_ROUND,
    UPRIGHT,
    choose_crop_size,
    choose_rotation,
    choose_scale,
    keypoint_distance_px,
)

SHAPE = np.array([[0.0, 0.0], [40.0, -10.0], [80.0, 0.0], [75.0, 30.0], [10.0, 28.0]])


def turned(degrees, mirrored=False):
    angle = np.deg2rad(degrees)
    shape = SHAPE * [-1, 1] if mirrored else SHAPE
    return shape @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).T


def test_an_animal_that_points_anywhere_is_turned_all_round(rng):
    xy = np.array([turned(angle) + 200 for angle in rng.uniform(0, 360, 40)])
    assert choose_rotation(xy, ("top",) * 40) == ALL_ROUND


def test_an_animal_that_looks_left_and_right_is_not_turned_over(rng):
    xy = np.array([turned(rng.normal(0, 10), mirrored=bool(i % 2)) + 200 for i in range(40)])
    xy[3:20, 2] = np.nan
    assert choose_rotation(xy, ("side",) * 40) == UPRIGHT
    # one camera that looks down is enough
    down = np.array([turned(angle) for angle in rng.uniform(0, 360, 40)])
    assert choose_rotation(np.concatenate([xy, down]), ("side",) * 40 + ("top",) * 40) == ALL_ROUND


def test_too_few_labels_to_tell_leave_images_upright():
    assert choose_rotation(np.full((4, 5, 2), np.nan), ("a",) * 4) == UPRIGHT


def test_the_scale_follows_the_distance_of_the_keypoints():
    xy = SHAPE[np.newaxis]
    assert 34 / keypoint_distance_px(xy) == pytest.approx(choose_scale(xy), rel=0.11)
    assert choose_scale(3 * xy) < choose_scale(xy)
    assert choose_scale(xy / 5) == 1.0
    assert choose_scale(np.full((3, 4, 2), np.nan)) == pytest.approx(0.5, rel=0.11)


def test_a_scale_nearby_is_taken_if_it_saves_padding():
    xy = SHAPE[np.newaxis] * 1.25  # wants 0.56: 358 x 269 pixels, padded to 384 x 320
    assert keypoint_distance_px(xy) == pytest.approx(34 / 0.56, rel=0.05)
    assert choose_scale(xy, [(640, 480)], 64) == 0.5  # 320 x 240, padded to 320 x 256


def test_small_pictures_are_not_shrunk_away():
    assert choose_scale(SHAPE[np.newaxis] * 10, [(400, 400)], 64) == 0.8


def test_the_crop_holds_the_animal_and_fits_the_network():
    xy = SHAPE[np.newaxis]
    assert choose_crop_size(xy, 0.5, 64) == 128
    assert choose_crop_size(xy * 100, 0.5, 64) == 256
    assert choose_crop_size(np.full((3, 4, 2), np.nan), 0.5, 32) == 128


def test_the_open_field_s_labels_give_the_settings_that_were_measured(data_folder):
    from pose3d.project import Project, load_labels

    labels = load_labels(Project.load(data_folder / "dlc_openfield"))
    xy = labels.xy[:, 0]
    assert choose_scale(xy, [(640, 480)], 64) == 0.5
    assert choose_crop_size(xy, 0.5, 64) == 128
    assert choose_rotation(xy, labels.cameras) == ALL_ROUND
