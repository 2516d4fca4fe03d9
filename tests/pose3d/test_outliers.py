"""What is wrong in a recording is found, named, and its frames are brought to be labelled."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.synthetic import ring_rig
from calibration.video import VideoWriter
from pose3d import steps, triangulate
from pose3d.formats.keypoints import save_keypoints_2d, save_keypoints_3d
from pose3d.keypoints import Keypoints2D
from pose3d.outliers import METHODS, choose_outliers, find_outliers
from pose3d.skeleton import Skeleton

SKELETON = Skeleton(("nose", "back", "tail"), (("nose", "back"), ("back", "tail")))


@pytest.fixture
def walk(rng):
    """A rig, and what its cameras see of an animal that walks in a circle."""
    rig = ring_rig(4, radius=600, focal=900, rng=rng)
    angle = np.arange(120) / 20
    middle = np.stack([80 * np.cos(angle), 80 * np.sin(angle), 0 * angle], -1)
    along = np.stack([-np.sin(angle), np.cos(angle), 0 * angle], -1)
    xyz = middle[:, None, None] + along[:, None, None] * np.array([40.0, 0, -40])[:, None]
    xy = rig.project(xyz) + rng.normal(0, 0.7, (4, 120, 1, 3, 2))
    seen = Keypoints2D(
        xy, np.full(xy.shape[:-1], 0.95), rig.names, ("animal",), SKELETON.keypoints,
        np.arange(120) / 30,
    )  # fmt: skip
    return rig, seen


def spoiled(seen, method):
    """Make the recording wrong at frame 50, in a way that a method finds."""
    xy, likelihood = seen.xy.copy(), seen.likelihood.copy()
    if method == "uncertain":
        likelihood[1, 50, 0, :2] = 0.2
    elif method in ("jump", "fitting"):
        xy[2, 50, 0, 0] += [60, 20]
    elif method == "reprojection":
        xy[:, 50, 0, 1] += [[0, 0], [0, 0], [0, -25], [18, 9]]
    elif method == "bones":
        xy[:, 50, 0, 2] = 3 * xy[:, 50, 0, 2] - 2 * xy[:, 50, 0, 1]
    else:
        xy[3, 50, 0, 2] += [45, 0]
    return replace(seen, xy=xy, likelihood=likelihood)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_what_it_is_for(walk, method):
    rig, seen = walk
    good = find_outliers(seen, SKELETON, triangulate(seen, rig))
    assert sum(map(len, good.values())) <= 3
    seen = spoiled(seen, method)
    found = find_outliers(seen, SKELETON, triangulate(seen, rig), methods=[method])[method]
    assert found[0].moment in (50, 51)  # a jump comes back
    assert found[0].score >= 1
    assert found[0].method == method
    with pytest.raises(ValueError, match="expected some of uncertain, jump"):
        find_outliers(seen, SKELETON, methods=["bad"])


def test_a_camera_that_ended_early_is_not_unsure(walk):
    _, seen = walk
    xy, likelihood = seen.xy.copy(), seen.likelihood.copy()
    xy[1, 100:], likelihood[1, 100:] = np.nan, 0
    likelihood[1, 30, 0, 0] = 0.1
    for every in (1, 3):  # only some frames were analysed
        looked = np.arange(120) % every == 0
        some = replace(
            seen,
            xy=np.where(looked[:, None, None, None], xy, np.nan),
            likelihood=np.where(looked[:, None, None], likelihood, 0),
        )
        found = find_outliers(some, SKELETON, methods=["uncertain"])["uncertain"]
        assert [outlier.moment for outlier in found] == [30]


def test_chosen_outliers_are_apart_unlike_and_not_taken(walk):
    rig, seen = walk
    for method in METHODS:
        seen = spoiled(seen, method)
    xy = seen.xy.copy()
    xy[2, 80:110, 0, 0] += 60 * (np.arange(30) % 2)[:, None]
    found = find_outliers(replace(seen, xy=xy), SKELETON)
    poses = seen.xy.transpose(1, 0, 2, 3, 4).reshape(120, -1)
    chosen = choose_outliers(found, poses, 8, taken=[50], apart=6)
    moments = sorted(outlier.moment for outlier in chosen)
    assert len(moments) >= 3
    assert np.diff(sorted([*moments, 50])).min() >= 6


def test_outliers_become_pictures_to_label(walk, tmp_path):
    rig, seen = walk
    project = tmp_path / "p"
    steps.create_project(
        project, cameras=list(rig.names), keypoints=list(SKELETON.keypoints), scorer="Ada"
    )
    videos = []
    for name in rig.names:
        with VideoWriter(tmp_path / f"{name}.mp4", 30) as writer:
            for i in range(120):
                writer.write(np.full((48, 64, 3), 2 * i, np.uint8))
        videos.append(f"{name}={tmp_path / f'{name}.mp4'}")
    steps.add_recording(project, "walk", videos)
    with pytest.raises(DataError, match="Run analyze-recording"):
        steps.extract_outlier_frames(project, "walk")
    path = project / "keypoints-2d" / "walk.h5"
    path.parent.mkdir(exist_ok=True)
    save_keypoints_2d(path, spoiled(seen, "jump"), {})
    outcome = steps.extract_outlier_frames(project, "walk", count=2)
    assert outcome.figures["chosen"] >= 1
    assert outcome.table[0]["frame"] in (50, 51)
    assert "px" in outcome.table[0]["found"]
    frame = outcome.table[0]["frame"]
    for name in rig.names:
        assert (project / "labeled-data" / f"walk_{name}" / f"img{frame:05d}.png").is_file()
    again = steps.extract_outlier_frames(project, "walk", count=2)
    assert frame not in [row["frame"] for row in again.table]
    with pytest.raises(DataError, match="is not triangulated; bones cannot be told"):
        steps.extract_outlier_frames(project, "walk", methods=["bones"])
    for wrong, message in (
        ({"methods": []}, "methods is empty; expected some of uncertain"),
        ({"min_likelihood": 60.0}, "min_likelihood is 60.0; expected 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            steps.extract_outlier_frames(project, "walk", **wrong)
    solid = project / "keypoints-3d" / "walk.h5"
    solid.parent.mkdir(exist_ok=True)
    save_keypoints_3d(solid, replace(triangulate(seen, rig), keypoints=("n", "b", "t")), {})
    with pytest.warns(DataWarning, match="of another analysis .* Run triangulate-recording"):
        steps.extract_outlier_frames(project, "walk", count=1)
    steps.change_keypoints(project, rename=["nose=snout"])
    with pytest.raises(DataError, match="not the project's any more. .* run analyze-recording"):
        steps.extract_outlier_frames(project, "walk")
