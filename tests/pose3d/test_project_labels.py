"""The labels of a project: gathered from its folders, saved back into them."""

import shutil

import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from pose3d.formats import deeplabcut
from pose3d.project import Project, load_labels, save_labels

CONFIG = """\
Task: reaching
scorer: Ada
bodyparts: [nose, left_ear, tail]
pose3d:
  cameras: [cam_1, cam_10]
  recordings: {trot: {cam_1: a.mp4, cam_10: b.mp4}}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    return Project.load(tmp_path)


def fill(project, folder, xy, names, *, keypoints=None, individuals=(), scorer="Ada", images=True):
    """Put a folder of labels into a project."""
    root = project.path / "labeled-data" / folder
    root.mkdir(parents=True)
    for name in names if images else ():
        (root / name).touch()
    table = deeplabcut.LabelTable(
        np.asarray(xy, float),
        [f"labeled-data/{folder}/{name}" for name in names],
        individuals,
        keypoints or project.skeleton.keypoints,
        scorer,
    )
    deeplabcut.save_labels(root, table)
    return root


def test_labels_of_all_folders_are_gathered_with_their_owners(project, rng):
    first, second = rng.uniform(0, 99, (2, 2, 1, 3, 2))
    fill(project, "trot_cam_1", first, ["img00000.png", "img00012.png"])
    fill(project, "trot_cam_10", second, ["img00000.png", "face.jpg"])
    (project.path / "labeled-data" / "trot_cam_1_labeled").mkdir()
    labels = load_labels(project)
    assert labels.images == (
        "labeled-data/trot_cam_1/img00000.png",
        "labeled-data/trot_cam_1/img00012.png",
        "labeled-data/trot_cam_10/img00000.png",
        "labeled-data/trot_cam_10/face.jpg",
    )
    assert labels.recordings == ("trot",) * 4
    assert labels.cameras == ("cam_1", "cam_1", "cam_10", "cam_10")
    assert labels.frames.tolist() == [0, 12, 0, -1]
    np.testing.assert_array_equal(labels.xy, np.concatenate([first, second]))


def test_a_project_without_labels_has_none(project):
    assert len(load_labels(project)) == 0


def test_the_open_field_labels_are_gathered_as_they_lie(data_folder, tmp_path):
    shutil.copytree(data_folder / "dlc_openfield", tmp_path / "field")
    labels = load_labels(Project.load(tmp_path / "field"))
    assert labels.xy.shape == (116, 1, 4, 2)
    assert set(labels.recordings) == {"m4s1"}
    assert set(labels.cameras) == {"camera"}
    assert labels.frames.tolist() == list(range(116))
    assert all((tmp_path / "field" / image).is_file() for image in labels.images)


def test_saved_labels_are_the_labels_of_their_folders(project, rng):
    fill(project, "trot_cam_1", rng.uniform(0, 99, (2, 1, 3, 2)), ["img00000.png", "img00001.png"])
    fill(project, "trot_cam_10", rng.uniform(0, 99, (1, 1, 3, 2)), ["img00004.png"])
    labels = load_labels(project)
    xy = labels.xy.copy()
    xy[1, 0, 2] = np.nan
    kept = type(labels)(xy[1:], labels.images[1:], labels.recordings[1:], labels.cameras[1:],
                        labels.frames[1:], labels.individuals, labels.keypoints)  # fmt: skip
    paths = save_labels(project, kept)
    assert [path.parent.name for path in paths] == ["trot_cam_1", "trot_cam_10"]
    again = load_labels(project)
    assert again.images == kept.images  # a deleted image stays deleted
    np.testing.assert_array_equal(again.xy, kept.xy)  # and a deleted point


def test_images_that_nobody_labelled_are_left_out(project, rng):
    xy = rng.uniform(0, 99, (2, 1, 3, 2))
    xy[0] = np.nan
    fill(project, "trot_cam_1", xy, ["img00000.png", "img00001.png"])
    assert load_labels(project).images == ("labeled-data/trot_cam_1/img00001.png",)


def test_absent_images_are_listed_and_the_rest_used(project, rng):
    root = fill(project, "trot_cam_1", rng.uniform(0, 9, (2, 1, 3, 2)), ["img0.png", "img1.png"])
    (root / "img0.png").unlink()
    with pytest.warns(DataWarning, match=r"trot_cam_1 lacks 1 labelled images.*img0\.png"):
        assert load_labels(project).images == ("labeled-data/trot_cam_1/img1.png",)


def test_other_keypoints_are_told_and_the_rest_used(project, rng):
    xy = rng.uniform(0, 99, (1, 1, 3, 2))
    fill(project, "trot_cam_1", xy, ["img0.png"], keypoints=("tail", "paw", "nose"))
    with pytest.warns(DataWarning, match="left out paw; missing left_ear"):
        labels = load_labels(project)
    np.testing.assert_array_equal(labels.xy[0, 0, [2, 0]], xy[0, 0, [0, 2]])
    assert np.isnan(labels.xy[0, 0, 1]).all()


def test_labels_with_no_common_name_are_refused(project, rng):
    xy = rng.uniform(0, 99, (1, 1, 2, 2))
    fill(project, "trot_cam_1", xy, ["img0.png"], keypoints=("a", "b"))
    with pytest.raises(DataError, match="labels a, b; the project has nose, left_ear, tail"):
        load_labels(project)


def test_a_folder_of_no_camera_is_told(project, rng):
    fill(project, "laptop", rng.uniform(0, 99, (1, 1, 3, 2)), ["img0.png"])
    with pytest.warns(DataWarning, match="laptop belongs to no camera .*cam_1, cam_10"):
        assert len(load_labels(project)) == 0


def test_a_renamed_folder_keeps_its_labels(project, rng):
    root = fill(project, "gallop_cam_1", rng.uniform(0, 99, (1, 1, 3, 2)), ["img0.png"])
    root.rename(root.parent / "walk_cam_1")
    with pytest.warns(DataWarning, match="speak of images in gallop_cam_1"):
        labels = load_labels(project)
    assert labels.images == ("labeled-data/walk_cam_1/img0.png",)
    assert labels.recordings == ("walk",)


def test_animals_are_matched_by_name(tmp_path, rng):
    text = CONFIG.replace("bodyparts:", "individuals: [anna, otto]\nbodyparts:")
    (tmp_path / "config.yaml").write_text(text)
    project = Project.load(tmp_path)
    assert project.multianimal
    xy = rng.uniform(0, 99, (1, 2, 3, 2))
    fill(project, "trot_cam_1", xy, ["img0.png"], individuals=("otto", "karl"))
    with pytest.warns(DataWarning, match="animals that the project does not have: karl"):
        labels = load_labels(project)
    np.testing.assert_array_equal(labels.xy[0, 1], xy[0, 0])
    assert np.isnan(labels.xy[0, 0]).all()
    save_labels(project, labels)
    np.testing.assert_array_equal(load_labels(project).xy, labels.xy)
    fill(project, "trot_cam_10", xy[:, :1], ["img0.png"])
    with pytest.raises(DataError, match="labels the animals without naming them"):
        load_labels(project)


def test_one_animal_may_be_called_otherwise(project, rng):
    xy = rng.uniform(0, 99, (1, 1, 3, 2))
    fill(project, "trot_cam_1", xy, ["img0.png"], individuals=("karl",))
    labels = load_labels(project)
    assert labels.individuals == ("animal",)
    np.testing.assert_array_equal(labels.xy, xy)


def test_labels_of_another_project_are_not_saved(project, rng):
    fill(project, "trot_cam_1", rng.uniform(0, 99, (1, 1, 3, 2)), ["img0.png"])
    labels = load_labels(project)
    other = type(labels)(labels.xy[:, :, :2], labels.images, labels.recordings, labels.cameras,
                         labels.frames, labels.individuals, ("nose", "tail"))  # fmt: skip
    with pytest.raises(ValueError, match="keypoints are .*; the project has"):
        save_labels(project, other)
    outside = type(labels)(labels.xy, ["labeled-data/../../x/img0.png"], labels.recordings,
                           labels.cameras, labels.frames, labels.individuals,
                           labels.keypoints)  # fmt: skip
    with pytest.raises(DataError, match="leads out of the project"):
        save_labels(project, outside)
