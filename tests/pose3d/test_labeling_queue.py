"""The frame queue of the labelling page: what comes first, and why; and images that come later."""

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.formats.toml import save_rig
from calibration.synthetic import ring_rig
from calibration.video import write_image
from pose3d.formats.keypoints import save_keypoints_2d, save_keypoints_3d
from pose3d.keypoints import Keypoints2D
from pose3d.labeling.content import RecordingContent
from pose3d.labeling.orders import ORDERS, order_moments
from pose3d.labeling.session import LabelSession
from pose3d.project import Project
from pose3d.triangulation import triangulate

CONFIG = """\
Task: reaching
scorer: Ada
bodyparts: [nose, ear, tail]
skeleton: [[nose, ear], [nose, tail]]
pose3d:
  cameras: [{cameras}]
  recordings: {{trot: {{{videos}}}}}
"""
BODY = np.array([[30, 0, 10], [18, 9, 16], [-40, 0, 8]], float)
N = 12


@pytest.fixture
def rig():
    return ring_rig(3, image_size=(64, 48), radius=300, focal=90)


@pytest.fixture
def project(tmp_path, rig):
    config = CONFIG.format(
        cameras=", ".join(rig.names), videos=", ".join(f"{name}: {name}.mp4" for name in rig.names)
    )
    (tmp_path / "config.yaml").write_text(config)
    for name in rig.names:
        folder = tmp_path / "labeled-data" / f"trot_{name}"
        folder.mkdir(parents=True)
        for moment in range(N):  # three kinds of pictures, four of each
            grey = np.full((48, 64, 3), 60 * (moment % 3) + moment, np.uint8)
            write_image(folder / f"img{moment:05d}.png", grey)
    return Project.load(tmp_path)


def opened(project, rig=None):
    if rig is not None:
        save_rig(rig, project.path / "calibration.toml")
    return RecordingContent(LabelSession(project, "trot"))


def names(content, order):
    return [name for name, _ in order_moments(content, order)]


def label(content, rig, moment, xyz):
    """Label a moment in all views as the points project."""
    seen = rig.project(xyz)
    content.session.change(
        [
            {
                "camera": camera,
                "image": f"img{moment:05d}.png",
                "individual": "animal",
                "keypoint": keypoint,
                "before": None,
                "after": {"state": "clicked", "xy": seen[c, k].tolist()},
            }
            for c, camera in enumerate(rig.names)
            for k, keypoint in enumerate(project_keypoints(content))
        ]
    )


def project_keypoints(content):
    return content.project.skeleton.keypoints


def predictions(rig):
    """2D keypoints with one unsure point in moment 7 and one far-off view in moment 10."""
    xy = rig.project(np.tile(BODY, (N, 1, 1)))[:, :, np.newaxis]
    likelihood = np.full(xy.shape[:-1], 0.9)
    likelihood[1, 7, 0, 2] = 0.05
    off = xy.copy()
    off[0, 10, 0, 1] += 9
    times = np.arange(N) / 25
    return Keypoints2D(off, likelihood, rig.names, ("animal",), ("nose", "ear", "tail"), times)


def test_every_order_holds_every_moment_once_and_chance_is_the_same_each_time(project, rig):
    content = opened(project, rig)
    save_keypoints_2d(project.keypoints_2d_path("trot"), predictions(rig))
    for moment in range(5):
        label(content, rig, moment, BODY)
    for order in ORDERS:
        found = names(content, order)
        assert sorted(found, key=int) == [str(m) for m in range(N)], order
        assert found == names(content, order)
    assert names(content, "frame") == [str(m) for m in range(N)]
    assert names(content, "random") != names(content, "frame")
    with pytest.raises(ValueError, match="expected one of frame, diverse"):
        order_moments(content, "best")
    content.session.close()


def test_unlike_frames_come_before_those_that_are_labelled_or_alike(project, rig):
    content = opened(project, rig)
    first = names(content, "diverse")[:3]
    assert {int(name) % 3 for name in first} == {0, 1, 2}
    label(content, rig, 3, BODY)  # a picture of the first kind
    after = order_moments(content, "diverse")
    assert {int(name) % 3 for name, _ in after[:2]} == {1, 2}
    assert after[-1] == ("3", "")
    content.session.close()


def test_labels_that_may_be_wrong_come_first_with_what_is_wrong(project, rig, rng):
    content = opened(project, rig)
    for moment in range(10):
        xyz = BODY + rng.normal(0, 1, BODY.shape)
        if moment == 6:
            xyz[2] = xyz[0] + 0.01  # the tail is put on the nose
        label(content, rig, moment, xyz)
    first, why = order_moments(content, "suspects")[0]
    assert first == "6"
    assert why.startswith("duplicate in ")
    assert "nose, tail" in why
    content.session.close()


def test_where_a_network_is_unsure_comes_first_with_the_point_that_it_is(project, rig):
    content = opened(project, rig)
    with pytest.raises(DataError, match="analyze-recording"):
        order_moments(content, "likelihood")
    content.session.close()
    save_keypoints_2d(project.keypoints_2d_path("trot"), predictions(rig))
    content = opened(project)
    assert order_moments(content, "likelihood")[0] == ("7", f"tail 0.05 in {rig.names[1]}")
    content.session.close()


def test_views_that_disagree_and_bones_of_unusual_length_come_first(project, rig):
    content = opened(project)
    with pytest.raises(DataError, match="no calibration"):
        order_moments(content, "reprojection")
    content.session.close()
    content = opened(project, rig)
    with pytest.raises(DataError, match="triangulate-recording"):
        order_moments(content, "bones")
    for moment in range(6):
        label(content, rig, moment, BODY)
    longer = BODY.copy()
    longer[2, 0] -= 25
    label(content, rig, 9, longer)
    assert order_moments(content, "bones")[0] == ("9", "nose–tail 95.02, usually 70.03")
    content.session.close()
    seen = predictions(rig)
    save_keypoints_3d(project.keypoints_3d_path("trot"), triangulate(seen, rig, max_error_px=50))
    content = opened(project)
    name, why = order_moments(content, "reprojection")[0]
    assert name == "10"
    assert why == f"ear 12.7 px in {rig.names[0]}"
    content.session.close()


def test_images_that_come_while_it_is_open_are_taken_in_with_nothing_lost(project, rig):
    content = opened(project, rig)
    session = content.session
    label(content, rig, 5, BODY)
    before = session.point(rig.names[0], "img00005.png", "animal", "nose")
    assert not session.take_new_images()
    for name in rig.names[:2]:
        folder = project.path / "labeled-data" / f"trot_{name}"
        write_image(folder / "img00003b2.png", np.zeros((48, 64, 3), np.uint8))
        write_image(folder / "img00100.png", np.zeros((48, 64, 3), np.uint8))
    sequence = session.sequence
    assert content.status()["sequence"] == sequence + 1
    assert session.images("100") == {name: "img00100.png" for name in rig.names[:2]}
    assert session.point(rig.names[0], "img00005.png", "animal", "nose") == before
    assert content.status()["counts"][rig.names[0]] == {"images": N + 2, "points": [1, 1, 1]}
    session.close()
    again = opened(project)
    assert again.session.point(rig.names[0], "img00005.png", "animal", "nose") == before
    again.session.close()


def test_images_that_are_all_alike_are_in_some_order(project, rig):
    for name in rig.names:
        for moment in range(N):
            image = project.path / "labeled-data" / f"trot_{name}" / f"img{moment:05d}.png"
            write_image(image, np.full((48, 64, 3), 90, np.uint8))
    content = opened(project)
    assert len(set(names(content, "diverse"))) == N
    content.session.close()


def test_an_image_to_open_first_is_named_as_in_labeled_data(project, rig):
    from pose3d.steps.labeling import _place

    folder = f"trot_{rig.names[1]}"
    assert _place(project, f"{folder}/img00003.png") == ("trot", "img00003.png")
    assert _place(project, f"labeled-data/{folder}/img00003.png") == ("trot", "img00003.png")
    for wrong in ("img00003.png", f"{folder}/img00099.png", "../secret.png"):
        with pytest.raises(ValueError, match="expected an image"):
            _place(project, wrong)
