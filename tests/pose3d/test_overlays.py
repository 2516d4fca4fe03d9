import numpy as np
import pytest

from calibration.planes import to_planes
from pose3d.overlays import KeypointPen, draw_keypoints, keypoint_colors, rgb
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


def test_planes_are_drawn_on_as_pictures_are():
    xy, likelihood = np.array([[20.3, 20.6], [60, 20], [40, 60]]), np.array([0.9, 0.9, 0.1])
    past = xy + np.arange(12)[:, np.newaxis, np.newaxis] - 11.0
    image = np.full((80, 96, 3), 120, np.uint8)
    planes = to_planes(image)
    pen = KeypointPen(3, (96, 80), SKELETON, radius=6)
    for picture in (image, planes):
        pen.draw(picture, xy, likelihood, past)
    expected = to_planes(image)
    # colour has half as many pixels, so that edges differ; insides and places do not
    for part, wanted, most in zip(planes, expected, (1.5, 3, 3), strict=True):
        assert np.abs(part.astype(int) - wanted).mean() < most
    np.testing.assert_allclose(planes.y[21, 20], expected.y[21, 20], atol=2)
    np.testing.assert_allclose(planes.u[10, 10], expected.u[10, 10], atol=3)


def test_trails_fade_and_have_gaps():
    xy = np.array([[75.0, 20.0], [75.0, 60.0], [np.nan, np.nan]])
    past = np.stack([[[5 + 5.0 * i, 20], [5 + 5.0 * i, 60], [np.nan] * 2] for i in range(15)])
    past[7, 1] = np.nan  # not seen half-way
    image = np.zeros((80, 80, 3), np.uint8)
    KeypointPen(3, (80, 80), SKELETON, radius=4).draw(image, xy, None, past)
    assert all(image[20, x].any() for x in range(6, 75))
    assert image[60, 25].any()
    assert not image[60, 38:42].any()
    assert image[60, 55].any()
    saturation = np.ptp(image[20].astype(int), axis=-1)
    assert saturation[12] < saturation[40] < saturation[65]
