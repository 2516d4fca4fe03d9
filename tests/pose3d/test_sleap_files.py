"""SLEAP's exports: axes, names and scores as they were meant."""

import json

import h5py
import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from pose3d.formats.sleap import load_analyses, load_analysis, load_points3d, load_skeleton

CAMERAS = ("back", "mid", "side", "top")


def write(path, tracks, *, scores=None, tracks_named=("a", "b"), **attributes):
    """Write an analysis file from tracks of shape (frame, track, node, xy), MATLAB's order."""
    with h5py.File(path, "w") as file:
        file["tracks"] = tracks.transpose(1, 3, 2, 0)
        file["node_names"] = np.array([f"n{i}".encode() for i in range(tracks.shape[2])])
        file["track_names"] = np.array([name.encode() for name in tracks_named] or [], "S5")
        if scores is not None:
            file["point_scores"] = scores.transpose(1, 2, 0)
        file.attrs.update(attributes)
    return path


def analysis(data_folder, camera):
    folder = data_folder / "sleap_anipose_minimal_session" / camera
    return folder / f"minimal_{camera}_proofread.analysis.h5"


def test_axes_are_put_right(tmp_path, rng):
    tracks = rng.uniform(0, 99, (6, 2, 4, 2))
    tracks[3, 1, 2] = np.nan
    scores = rng.uniform(0, 1, (6, 2, 4))
    seen = load_analysis(write(tmp_path / "a.h5", tracks, scores=scores), camera="top", fps=25)
    np.testing.assert_array_equal(seen.xy[0], tracks)
    scores[3, 1, 2] = 0
    np.testing.assert_array_equal(seen.likelihood[0], scores)
    assert (seen.cameras, seen.individuals, seen.fps) == (("top",), ("a", "b"), 25)
    assert seen.keypoints == ("n0", "n1", "n2", "n3")


@pytest.mark.parametrize(
    "dims", [("frame", "track", "node", "xy"), ("xy", "node", "frame", "track")]
)
def test_other_orders_of_axes_are_read_by_their_names(tmp_path, rng, dims):
    tracks = rng.uniform(0, 99, (6, 2, 4, 2))
    scores = rng.uniform(0, 1, (6, 2, 4))
    path = write(tmp_path / "a.h5", tracks)
    axes = ("frame", "track", "node", "xy")
    with h5py.File(path, "r+") as file:
        del file["tracks"]
        file["tracks"] = tracks.transpose([axes.index(axis) for axis in dims])
        file["tracks"].attrs["dims"] = json.dumps(dims)
        left = [axis for axis in dims if axis != "xy"]
        file["point_scores"] = scores.transpose([axes.index(axis) for axis in left])
    seen = load_analysis(path, camera="top", fps=25)
    np.testing.assert_array_equal(seen.xy[0], tracks)
    np.testing.assert_array_equal(seen.likelihood[0], scores)
    with h5py.File(path, "r+") as file:
        file["tracks"].attrs["dims"] = json.dumps(["time", "track", "node", "xy"])
    with pytest.raises(DataError, match="axes of tracks are .*time"):
        load_analysis(path, camera="top", fps=25)


def test_points_without_a_score_count_fully_and_high_scores_as_one(tmp_path):
    tracks = np.ones((3, 1, 2, 2))
    tracks[2, 0, 0] = np.nan
    scores = np.array([[[np.nan, 1.02]], [[0.5, -0.1]], [[0.7, np.nan]]])
    path = write(tmp_path / "a.h5", tracks, scores=scores, tracks_named=())
    seen = load_analysis(path, camera="top", fps=25)
    np.testing.assert_array_equal(seen.likelihood[0, :, 0], [[1, 1], [0.5, 0], [0, 1]])
    assert seen.individuals == ("track_0",)
    unscored = load_analysis(write(tmp_path / "b.h5", tracks, tracks_named=()), camera="t", fps=1)
    np.testing.assert_array_equal(unscored.likelihood[0, :, 0], [[1, 1], [1, 1], [0, 1]])


def test_what_is_no_analysis_is_refused_by_name(tmp_path, rng):
    tracks = rng.uniform(0, 99, (6, 2, 4, 2))
    path = write(tmp_path / "three.h5", tracks, tracks_named=("a", "b", "c"))
    with pytest.raises(DataError, match=r"three\.h5: tracks has shape \(2, 2, 4, 6\).* 3 tracks"):
        load_analysis(path, camera="top", fps=25)
    path = write(tmp_path / "scores.h5", tracks, scores=np.zeros((5, 2, 4)))
    with pytest.raises(DataError, match=r"point_scores has shape \(2, 4, 5\)"):
        load_analysis(path, camera="top", fps=25)
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["points"] = 3
    with pytest.raises(DataError, match="has no 'node_names' in /; it holds points"):
        load_analysis(tmp_path / "none.h5", camera="top", fps=25)
    with pytest.raises(FileNotFoundError, match="No SLEAP analysis at"):
        load_analysis(tmp_path / "gone.h5", camera="top", fps=25)
    with pytest.raises(ValueError, match="fps is 0"):
        load_analysis(path, camera="top", fps=0)


def test_cameras_are_joined_by_name(tmp_path, rng):
    tracks = rng.uniform(0, 99, (6, 2, 4, 2))
    one = write(tmp_path / "one.h5", tracks)
    two = write(tmp_path / "two.h5", tracks[:4, ::-1], tracks_named=("b", "a"))
    with pytest.warns(DataWarning, match="left 6, right 4 frames"):
        seen = load_analyses({"left": one, "right": two}, fps=10)
    assert seen.cameras == ("left", "right")
    np.testing.assert_array_equal(seen.xy[0], tracks)
    np.testing.assert_array_equal(seen.xy[1, :4], tracks[:4])
    assert np.isnan(seen.xy[1, 4:]).all()
    assert (seen.likelihood[1, 4:] == 0).all()
    three = write(tmp_path / "three.h5", tracks, tracks_named=("a", "x"))
    with pytest.raises(DataError, match="'left' and 'right' differ in individuals: a, b and a, x"):
        load_analyses({"left": one, "right": three}, fps=10)


def test_the_mouse_is_read_from_all_four_cameras(data_folder):
    seen = load_analyses({camera: analysis(data_folder, camera) for camera in CAMERAS}, fps=30)
    assert seen.xy.shape == (4, 120, 1, 15, 2)
    assert seen.keypoints[:3] == ("Nose", "Ear_R", "Ear_L")
    missing = np.isnan(seen.xy[..., 0]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(missing, [0.22, 0, 0.13, 0], atol=0.005)
    with h5py.File(analysis(data_folder, "top")) as file:
        np.testing.assert_array_equal(seen.xy[3, 7, 0, 4], file["tracks"][0, :, 4, 7])
    found = np.isfinite(seen.xy[..., 0])
    assert (seen.likelihood[found] > 0).all()
    assert (seen.likelihood[~found] == 0).all()


def test_the_skeleton_of_the_mouse_is_read(data_folder):
    skeleton = load_skeleton(analysis(data_folder, "top"))
    assert len(skeleton.keypoints) == 15
    assert len(skeleton.edges) == 14
    assert ("Head", "Nose") in skeleton.edges


def test_the_two_flies_are_two_individuals(data_folder):
    path = data_folder / "sleap_two_flies" / "predictions.analysis.h5"
    seen = load_analysis(path, camera="above", fps=25)
    assert seen.xy.shape == (1, 3000, 2, 13, 2)
    assert seen.individuals == ("track_0", "track_1")
    missing = np.isnan(seen.xy[..., 0]).mean(axis=(0, 1, 3))
    np.testing.assert_allclose(missing, [0.017, 0.022], atol=5e-4)
    assert load_skeleton(path).edges == ()


def test_the_points_in_space_are_read(data_folder):
    points = load_points3d(data_folder / "sleap_anipose_minimal_session" / "points3d.h5")
    assert points.shape == (120, 1, 15, 3)
    assert np.isfinite(points).all()
    with pytest.raises(DataError, match=r"tracks has shape \(1, 2, 15, 120\)"):
        load_points3d(analysis(data_folder, "top"))
