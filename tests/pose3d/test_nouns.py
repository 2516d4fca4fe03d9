"""Skeletons, keypoints and labels keep their promises, or say what is wrong with them."""

from dataclasses import replace

import numpy as np
import pytest

from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.labels import LabeledFrames
from pose3d.skeleton import Skeleton

SKELETON = Skeleton(
    ("nose", "left_ear", "right_ear"),
    (("nose", "left_ear"), ("nose", "right_ear")),
    (("left_ear", "right_ear"),),
)


def seen(**change):
    fields = {
        "xy": np.arange(24.0).reshape(2, 2, 1, 3, 2),
        "likelihood": np.linspace(0, 1, 12).reshape(2, 2, 1, 3),
        "cameras": ("a", "b"),
        "individuals": ("rat",),
        "keypoints": SKELETON.keypoints,
        "times": [0.0, 0.02],
    }
    return Keypoints2D(**fields | change)


def path(**change):
    shape = (2, 1, 3)
    fields = {
        "xyz": np.zeros((*shape, 3)),
        "covariance": np.zeros((*shape, 3, 3)),
        "reprojection_error": np.zeros(shape),
        "view_errors": np.zeros((2, *shape)),
        "used_views": np.ones((2, *shape), bool),
        "reason": np.zeros(shape, np.uint8),
        "filled": np.zeros(shape, bool),
        "cameras": ("a", "b"),
        "individuals": ("rat",),
        "keypoints": SKELETON.keypoints,
        "times": [0.0, 0.02],
        "units": "mm",
    }
    return Keypoints3D(**fields | change)


def test_a_skeleton_knows_edges_and_partners_by_index():
    assert SKELETON.edge_indices.tolist() == [[0, 1], [0, 2]]
    assert SKELETON.mirrored.tolist() == [0, 2, 1]
    assert Skeleton(("nose",)).edge_indices.shape == (0, 2)


@pytest.mark.parametrize(
    ("field", "pairs", "message"),
    [
        ("edges", [("nose", "tail")], "edges names 'tail', which is no keypoint; they are nose"),
        ("edges", [("nose", "nose")], "two different keypoints"),
        ("symmetric", [("nose", "left_ear"), ("nose", "right_ear")], "names 'nose' twice"),
    ],
)
def test_a_skeleton_that_cannot_hang_together_is_refused(field, pairs, message):
    with pytest.raises(ValueError, match=message):
        Skeleton(SKELETON.keypoints, **{field: pairs})


def test_less_likely_points_go_missing_and_the_others_stay():
    sure = seen().confident(0.5)
    np.testing.assert_array_equal(np.isnan(sure.xy[..., 0]), seen().likelihood < 0.5)
    np.testing.assert_array_equal(sure.likelihood, seen().likelihood)
    assert seen().fps == pytest.approx(50)


def test_an_unknown_likelihood_counts_as_none():
    likelihood = seen().likelihood.copy()
    likelihood[0, 0, 0, 2] = np.nan
    assert seen(likelihood=likelihood).likelihood[0, 0, 0, 2] == 0
    assert np.isnan(seen(likelihood=likelihood).confident(0.1).xy[0, 0, 0, 2]).all()


def test_cameras_are_chosen_by_name():
    sizes = [[640, 480], [320, 240]]
    part = seen(image_sizes=sizes).subset(["b"])
    assert part.cameras == ("b",)
    assert part.image_sizes.tolist() == [[320, 240]]
    np.testing.assert_array_equal(part.xy, seen().xy[1:])
    with pytest.raises(KeyError, match="No camera 'c'"):
        seen().subset(["c"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xy": np.zeros((2, 2, 3, 2))}, r"xy has shape \(2, 2, 3, 2\); expected \(2, n_frames"),
        ({"likelihood": np.full((2, 2, 1, 3), 1.5)}, "1.5 for 'nose' in camera 'a', frame 0"),
        ({"times": [0.0, 0.0]}, "times falls or stands from 0.0 s to 0.0 s at frame 1"),
        ({"times": [0.0]}, r"times has shape \(1,\); expected \(2,\)"),
        ({"cameras": ("a", "a")}, "cameras holds 'a' twice"),
        ({"covariance": np.zeros((2, 2))}, "covariance has shape"),
    ],
)
def test_keypoints_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        seen(**change)


def test_a_path_is_asked_by_keypoint():
    assert path()["nose"].shape == (2, 1, 3)
    assert path().n_views.tolist() == [[[2, 2, 2]]] * 2
    with pytest.raises(KeyError, match="No keypoint 'tail'; they are nose"):
        path()["tail"]


def test_a_point_is_missing_exactly_where_a_reason_is_given():
    xyz = path().xyz.copy()
    xyz[1, 0, 2] = np.nan
    with pytest.raises(ValueError, match="disagree for 'right_ear' in frame 1"):
        path(xyz=xyz)
    reason = path().reason.copy()
    reason[1, 0, 2] = Missing.ONE_VIEW
    assert path(xyz=xyz, reason=reason).reason[1, 0, 2] == Missing.ONE_VIEW


def test_infinite_places_are_refused():
    with pytest.raises(ValueError, match="NaN is the only missing value"):
        path(xyz=np.full((2, 1, 3, 3), np.inf))


def labels(**change):
    fields = {
        "xy": np.zeros((2, 1, 3, 2)),
        "images": ("labeled-data/t_a/img00000.png", "labeled-data/t_b/img00000.png"),
        "recordings": ("t", "t"),
        "cameras": ("a", "b"),
        "frames": [0, 0],
        "individuals": ("rat",),
        "keypoints": SKELETON.keypoints,
    }
    return LabeledFrames(**fields | change)


def test_some_of_the_labels_are_labels():
    part = labels().at([1])
    assert (len(part), part.cameras) == (1, ("b",))
    assert len(labels().at(np.array([True, False]))) == 1


def test_labels_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="img00000.png' twice"):
        labels(images=("img00000.png",) * 2)
    with pytest.raises(ValueError, match="cameras has 1 entries; expected 2"):
        labels(cameras=("a",))
    half = labels().xy.copy()
    half[1, 0, 2, 1] = np.nan
    with pytest.raises(ValueError, match="'right_ear' in labeled-data/t_b/img00000.png has x"):
        replace(labels(), xy=half)
