"""Labels go on to the next iteration; keypoints change without losing them."""

import json

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.video import write_image
from pose3d import steps
from pose3d.labeling.content import labeled_recordings
from pose3d.labels import LabeledFrames
from pose3d.networks.datasets import labels_of, load_iteration, load_split
from pose3d.project import Project, load_labels, save_labels

KEYPOINTS = ("nose", "ear", "tail")


def label(project, frames, value):
    """Label some frames, all keypoints at one place."""
    loaded = Project.load(project)
    images = [f"labeled-data/walk_top/img{i:05d}.png" for i in frames]
    for image in images:
        (project / image).parent.mkdir(parents=True, exist_ok=True)
        write_image(project / image, np.full((20, 30, 3), 90, np.uint8))
    xy = np.full((len(images), 1, len(loaded.skeleton.keypoints), 2), float(value))
    names = [["walk"] * len(images), ["top"] * len(images)]
    labels = LabeledFrames(
        xy, images, *names, np.array(frames), loaded.individuals, loaded.skeleton.keypoints
    )
    save_labels(loaded, labels)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "p"
    steps.create_project(
        folder, cameras=["top"], keypoints=list(KEYPOINTS), scorer="Ada",
        skeleton=["nose-ear", "ear-tail"],
    )  # fmt: skip
    label(folder, range(6), 5)
    return folder


def test_an_old_split_goes_with_the_labels_of_its_iteration(project):
    steps.create_training_dataset(project, train_fraction=0.5)
    merged = steps.merge_datasets(project)
    assert "then train-network --name network-1." in merged.summary
    assert merged.figures == {"iteration": 1, "n_images": 6, "n_unlabelled": 0}
    label(project, range(9), 7)  # three more, and the others corrected
    steps.create_training_dataset(project, name="network-1", train_fraction=0.5)
    loaded = Project.load(project)
    assert loaded.iteration == 1
    old, new = (
        load_split(loaded.network_folder(n) / "split.json") for n in ("network", "network-1")
    )
    first, second = labels_of(loaded, old), labels_of(loaded, new)
    assert (len(first), len(second)) == (6, 9)
    assert (first.xy == 5).all()
    assert (second.xy == 7).all()
    assert sum(map(len, old.indices(first))) == 6
    steps.create_training_dataset(project, name="network-2", like="network")
    kept = load_split(loaded.network_folder("network-2") / "split.json")
    assert (set(kept.test), len(kept.train)) == (set(old.test), 9 - len(old.test))
    text = (project / "config.yaml").read_text(encoding="utf-8")
    assert "iteration: 1" in text
    with pytest.raises(DataError, match="labels of iteration 4 were not kept"):
        load_iteration(loaded, 4)


def test_pictures_that_wait_for_labels_are_told(project):
    write_image(
        project / "labeled-data" / "walk_top" / "img00050.png", np.zeros((20, 30, 3), np.uint8)
    )
    with pytest.raises(DataError, match="1 pictures are not labelled yet, the first in walk_top"):
        steps.merge_datasets(project)
    assert Project.load(project).iteration == 0
    assert steps.merge_datasets(project, allow_unlabeled=True).figures["n_unlabelled"] == 1


def test_without_labels_the_verbs_say_where_they_come_from(tmp_path):
    steps.create_project(tmp_path / "new", cameras=["top"], keypoints=list(KEYPOINTS))
    for verb in (steps.create_training_dataset, steps.check_labels):
        with pytest.raises(
            DataError, match=r"has no labels.*\. Label frames with label-frames, or"
        ):
            verb(tmp_path / "new")
    assert not list((tmp_path / "new" / "training-datasets").glob("*"))


@pytest.mark.parametrize("plain", [False, True])
def test_the_drawings_of_check_labels_are_nobody_s_images_to_label(project, plain):
    if plain:  # as DeepLabCut makes it, and the drawings in its own way
        text = (project / "config.yaml").read_text(encoding="utf-8")
        (project / "config.yaml").write_text(text[: text.index("pose3d:")], encoding="utf-8")
    steps.check_labels(project)
    assert (project / "labeled-data" / "walk_top_labeled" / "img00000.png").is_file()
    assert len(labeled_recordings(Project.load(project))) == 1
    assert steps.merge_datasets(project).figures["n_unlabelled"] == 0


def test_keypoints_change_and_labels_follow(project):
    sidecar = project / "labeled-data" / "walk.labels.json"
    points = [["animal", "nose", {"state": "clicked"}], ["animal", "tail", {"state": "absent"}]]
    content = {"journal_bytes": 0, "points": {"top": {"img00000.png": points}}}
    sidecar.write_text(json.dumps(content), encoding="utf-8")
    outcome = steps.change_keypoints(project, add=["hip"], rename=["nose=snout"], remove=["tail"])
    loaded = Project.load(project)
    assert loaded.skeleton.keypoints == ("snout", "ear", "hip")
    assert loaded.skeleton.edges == (("snout", "ear"),)
    labels = load_labels(loaded)
    assert (labels.xy[:, 0, :2] == 5).all()
    assert np.isnan(labels.xy[:, 0, 2]).all()
    found = json.loads(sidecar.read_text(encoding="utf-8"))["points"]["top"]["img00000.png"]
    assert found == [["animal", "snout", {"state": "clicked"}]]
    (kept,) = (project / "backups").iterdir()
    assert str(kept) in outcome.summary
    assert (kept / "labeled-data" / "walk_top" / "CollectedData_Ada.h5").is_file()
    assert "nose" in (kept / "config.yaml").read_text(encoding="utf-8")


def test_nothing_is_changed_where_something_cannot_be_read(project):
    files = sorted((project / "labeled-data" / "walk_top").glob("Collected*"))
    before = [path.read_bytes() for path in files]
    sidecar = project / "labeled-data" / "walk.labels.json"
    sidecar.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="labels.json cannot be read .* Remove it"):
        steps.change_keypoints(project, rename=["nose=snout"])
    assert [path.read_bytes() for path in files] == before
    assert not (project / "backups").exists()
    sidecar.unlink()
    damaged = project / "labeled-data" / "zoo_top"
    damaged.mkdir()
    (damaged / "CollectedData_Ada.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="zoo_top"):
        steps.change_keypoints(project, rename=["nose=snout"])
    assert [path.read_bytes() for path in files] == before


def test_labels_are_kept_beside_what_deeplabcut_keeps(project):
    kept = project / "training-datasets" / "iteration-0"
    (kept / "UnaugmentedDataSet_testJan1").mkdir(parents=True)
    steps.merge_datasets(project)
    assert (kept / "CollectedData_Ada.h5").is_file()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "Nothing is to be changed"),
        ({"rename": ["nose"]}, "expected old=new"),
        ({"rename": ["paw=hand"]}, "no keypoint; they are nose, ear, tail"),
        ({"add": ["nose"]}, "two keypoints 'nose'"),
        ({"remove": list(KEYPOINTS)}, "No keypoint would be left"),
        ({"remove": ["nose"], "rename": ["nose=snout"]}, "renamed and removed"),
    ],
)
def test_what_cannot_be_changed_is_said_before_anything_is(project, asked, message):
    before = (project / "config.yaml").read_bytes()
    with pytest.raises(ValueError, match=message):
        steps.change_keypoints(project, **asked)
    assert (project / "config.yaml").read_bytes() == before
    assert not (project / "backups").exists()


def test_labels_that_only_the_journal_has_are_not_lost(project):
    journal = project / "labeled-data" / "walk.journal.jsonl"
    journal.write_text("{}\n", encoding="utf-8")
    with pytest.raises(DataError, match="not in the label files yet"):
        steps.change_keypoints(project, rename=["nose=snout"])
