"""Wrong labels are found, right ones are left alone."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from calibration.synthetic import ring_rig
from pose3d import steps
from pose3d.labels import LabeledFrames
from pose3d.project import Project, load_labels
from pose3d.skeleton import Skeleton
from pose3d.suspects import suspicious_labels, symmetric_by_name

SKELETON = Skeleton(
    ("nose", "ear_l", "ear_r", "tail"),
    (("nose", "tail"), ("ear_l", "ear_r")),
    (("ear_l", "ear_r"),),
)
SHAPE = np.array([[40.0, 0, 0], [18, 14, 4], [18, -14, 4], [-50, 0, -6]])


def poses(rng, n):
    """Turn and bend an animal, (n, 4, 3)."""
    angle = rng.uniform(0, 2 * np.pi, n)
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(n), np.ones(n)
    turn = np.array([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]]).transpose(2, 0, 1)
    shape = SHAPE + rng.normal(0, 1, (n, 4, 3))
    return np.einsum("nij,nkj->nki", turn, shape) + rng.uniform(-80, 80, (n, 1, 3)) * [1, 1, 0]


def seen_from(cameras, xy):
    """Make labels of points (n_cameras, n_frames, n_keypoints, 2)."""
    n_cameras, n_frames = xy.shape[:2]
    places = [(c, f) for c in range(n_cameras) for f in range(n_frames)]
    return LabeledFrames(
        xy=xy.reshape(-1, 1, 4, 2),
        images=[f"labeled-data/walk_{cameras[c]}/img{f:05d}.png" for c, f in places],
        recordings=["walk"] * len(places),
        cameras=[cameras[c] for c, _ in places],
        frames=np.array([f for _, f in places]),
        individuals=("animal",),
        keypoints=SKELETON.keypoints,
    )


@pytest.fixture
def filmed(rng):
    rig = ring_rig(4, radius=600, focal=900, rng=rng)
    xy = rig.project(poses(rng, 30)) + rng.normal(0, 1, (4, 30, 4, 2))
    return rig, seen_from(rig.names, xy)


def found(labels, rig=None):
    sizes = np.full((len(labels), 2), 4000)
    return suspicious_labels(labels, SKELETON, sizes, rig)


def test_right_labels_are_not_suspicious(filmed):
    rig, labels = filmed
    assert found(labels, rig) == ()


@pytest.mark.parametrize("kind", ["outside", "duplicate", "exchanged", "length", "disagrees"])
def test_a_wrong_label_is_named(filmed, kind):
    rig, labels = filmed
    xy = labels.xy.copy()
    image = 37  # the second camera's frame 7
    if kind == "outside":
        xy[image, 0, 0] = [4000.2, 10]
    elif kind == "duplicate":
        xy[image, 0, 3] = xy[image, 0, 0] + 0.3
    elif kind == "exchanged":
        xy[image, 0, [1, 2]] = xy[image, 0, [2, 1]]
    elif kind == "length":
        xy[image, 0, 3] += 8 * (xy[image, 0, 3] - xy[image, 0, 0])
    else:
        xy[image, 0, 3] += [25, -20]
    suspects = found(replace(labels, xy=xy), rig)
    mine = [suspect for suspect in suspects if suspect.kind == kind]
    assert mine
    assert mine[0].image == labels.images[image]
    assert set(mine[0].keypoints) <= set(SKELETON.keypoints)
    assert all(suspect.image == labels.images[image] for suspect in suspects)


def test_names_tell_pairs():
    names = ["snout", "leftear", "rightear", "Hip_L", "Hip_R", "l_paw", "r_paw", "left", "tail_l"]
    assert symmetric_by_name(names) == (
        ("leftear", "rightear"), ("Hip_L", "Hip_R"), ("l_paw", "r_paw")
    )  # fmt: skip


def test_the_exchanged_ears_of_the_open_field_are_found_and_nothing_else(data_folder, tmp_path):
    project = tmp_path / "field"
    shutil.copytree(data_folder / "dlc_openfield", project)
    for path in project.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    outcome = steps.check_labels(project, draw=False)
    assert outcome.figures["n_suspects"] == 1
    (row,) = outcome.table
    assert (row["image"], row["kind"]) == ("m4s1/img0102.png", "exchanged")
    assert row["keypoints"] == "leftear, rightear"
    assert "--at m4s1/img0102.png" in outcome.path.read_text(encoding="utf-8")
    assert len(load_labels(Project.load(project))) == 116
