import numpy as np
import pytest

from pose3d.overlays import draw_keypoints, keypoint_colors, rgb
from pose3d.skeleton import Skeleton

SKELETON = Skeleton(("nose", "left_ear", "right_ear"), (("nose", "left_ear"),))


def centroid(weight):
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize("xy", [(20.0, 30.0), (20.4, 30.7)])
def test_a_dot_is_drawn_to_a_part_of_a_pixel(xy):
    image = np.zeros((60, 60, 3), np.uint8)
    drawn = draw_keypoints(image, np.array([xy]), radius=5)
    assert image.max() == 0  # a copy
    np.testing.assert_allclose(centroid(drawn.sum(axis=-1).astype(float)), xy, atol=0.25)


def test_points_that_are_unsure_are_hollow_and_without_bones():
    image = np.full((80, 80), 100, np.uint8)
    xy = np.array([[20, 20], [60, 20], [40, 60]])
    sure = draw_keypoints(image, xy, np.array([0.9, 0.9, 0.9]), SKELETON, radius=6)
    unsure = draw_keypoints(image, xy, np.array([0.9, 0.1, np.nan]), SKELETON, radius=6)
    assert (sure[20, 40] != 100).any()
    assert (unsure[20, 40] == 100).all()
    assert (sure[20, 60] != 100).any()
    assert (unsure[20, 60] == 100).all()


def test_missing_and_far_points_are_not_drawn():
    image = np.full((40, 40, 3), 50, np.uint8)
    xy = np.array([[np.nan, np.nan], [1e9, 5], [-1e9, 5]])
    np.testing.assert_array_equal(draw_keypoints(image, xy, skeleton=SKELETON), image)


def test_every_individual_is_drawn():
    xy = np.array([[[10.0, 10.0]], [[30.0, 30.0]]])
    drawn = draw_keypoints(np.zeros((40, 40, 3), np.uint8), xy, radius=3)
    assert drawn[10, 10].any()
    assert drawn[30, 30].any()


def test_another_number_of_keypoints_is_refused():
    with pytest.raises(ValueError, match="xy holds 2 keypoints and the skeleton 3"):
        draw_keypoints(np.zeros((9, 9, 3), np.uint8), np.zeros((2, 2)), skeleton=SKELETON)


def test_colours_tell_left_from_right_and_neighbours_apart():
    names = tuple(f"{side}_{part}" for part in "abcd" for side in ("left", "right")) + ("nose",)
    pairs = tuple((f"left_{part}", f"right_{part}") for part in "abcd")
    colors = dict(zip(names, keypoint_colors(names, pairs), strict=True))
    for part in "abcd":
        left, right = rgb(colors[f"left_{part}"]), rgb(colors[f"right_{part}"])
        assert left[2] > left[0]  # blue
        assert right[0] > right[2]  # orange
    assert len(set(colors.values())) == len(names)
    plain = keypoint_colors(tuple(map(str, range(20))))
    assert len(set(plain)) == 20
