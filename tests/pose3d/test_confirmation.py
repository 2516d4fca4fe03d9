"""What several views agree on becomes labels that nobody had to click, and nothing else does."""

from dataclasses import replace

import numpy as np
import pytest

from calibration import save_rig
from calibration.errors import DataError, DataWarning
from calibration.synthetic import ring_rig
from calibration.video import VideoWriter, write_image
from pose3d import steps, triangulate
from pose3d.confirmation import confirmed_points
from pose3d.formats.keypoints import save_keypoints_2d
from pose3d.keypoints import Keypoints2D
from pose3d.labels import LabeledFrames
from pose3d.networks.datasets import pseudo_labels_of
from pose3d.networks.storage import load_networks
from pose3d.project import PSEUDO_LABELED, Project, load_labels, save_labels
from pose3d.steps.moments import moment_numbers

NAMES, N_FRAMES = ("nose", "back", "tail"), 60


@pytest.fixture
def walk(rng):
    """A rig, where an animal is in its images, and what a network saw of it."""
    rig = ring_rig(4, radius=600, focal=900, rng=rng)
    angle = np.arange(N_FRAMES) / 20
    middle = np.stack([80 * np.cos(angle), 80 * np.sin(angle), 0 * angle], -1)
    along = np.stack([-np.sin(angle), np.cos(angle), 0 * angle], -1)
    xyz = middle[:, None, None] + along[:, None, None] * np.array([40.0, 0, -40])[:, None]
    true = rig.project(xyz)
    xy = true + rng.normal(0, 0.7, true.shape)
    likelihood = np.full(xy.shape[:-1], 0.95)
    times = np.arange(N_FRAMES) / 30
    return rig, true, Keypoints2D(xy, likelihood, rig.names, ("animal",), NAMES, times)


def test_a_view_that_is_wrong_or_unsure_learns_and_one_that_is_blind_does_not(walk):
    rig, true, seen = walk
    xy, likelihood = seen.xy.copy(), seen.likelihood.copy()
    xy[0, 10, 0, 0] += [70, 40]  # sure, and elsewhere
    likelihood[1, 20, 0, 1] = 0.3  # unsure
    likelihood[2, 30, 0, 2] = 0.01  # hidden, as far as it knows
    likelihood[:2, 40, 0, 0] = 0.01  # two views left, which is too few
    seen = replace(seen, xy=xy, likelihood=likelihood)
    points = confirmed_points(seen, triangulate(seen, rig, min_likelihood=0.6), rig)
    error = np.linalg.norm(points - true, axis=-1)
    assert np.nanmax(error) < 2.5
    assert np.isfinite(error[[0, 1], [10, 20], 0, [0, 1]]).all()
    assert np.isnan(error[2, 30, 0, 2])
    assert np.isnan(error[:, 40, 0, 0]).all()
    assert np.isfinite(error).sum() == error.size - 5
    strict = confirmed_points(seen, triangulate(seen, rig), rig, max_deviation=1e-4)
    assert np.isnan(strict).all()
    with pytest.raises(ValueError, match="cameras of the 3D keypoints"):
        confirmed_points(seen.subset(rig.names[:3]), triangulate(seen, rig), rig)


@pytest.fixture
def project(walk, tmp_path):
    """A project of that walk; two moments are labelled by hand."""
    rig, true, seen = walk
    folder = tmp_path / "p"
    steps.create_project(folder, cameras=list(rig.names), keypoints=list(NAMES), scorer="Ada")
    videos = []
    for name in rig.names:
        with VideoWriter(tmp_path / f"{name}.mp4", 30) as writer:
            for i in range(N_FRAMES):
                writer.write(np.full((480, 640, 3), 4 * i, np.uint8))
        videos.append(f"{name}={tmp_path / f'{name}.mp4'}")
    steps.add_recording(folder, "walk", videos)
    save_rig(rig, folder / "calibration.toml")
    save_keypoints_2d(folder / "keypoints-2d" / "walk.h5", seen, {})
    images = [(c, f) for c in range(4) for f in (0, 30)]
    names = [f"labeled-data/walk_{rig.names[c]}/img{f:05d}.png" for c, f in images]
    for name in names:
        write_image(folder / name, np.full((480, 640), 100, np.uint8))
    labels = LabeledFrames(
        xy=np.array([true[c, f] for c, f in images]), images=names, recordings=["walk"] * 8,
        cameras=[rig.names[c] for c, _ in images], frames=[f for _, f in images],
        individuals=("animal",), keypoints=NAMES,
    )  # fmt: skip
    save_labels(Project.load(folder), labels)
    return folder


def test_confirmed_moments_become_labels_apart_from_those_of_people(project, walk):
    rig, true, seen = walk
    with pytest.raises(DataError, match="Run triangulate-recording"):
        steps.extract_confirmed_frames(project, "walk")
    steps.triangulate_recording(project, "walk", trust_calibration=True)
    with pytest.raises(DataError, match=r"from 4 cameras; 5 must agree. Lower --min-views"):
        steps.extract_confirmed_frames(project, "walk", min_views=5)
    steps.extract_confirmed_frames(project, "walk", count=25)
    outcome = steps.extract_confirmed_frames(project, "walk", count=10)  # in place of the former
    assert outcome.figures["moments"] == 10
    made = load_labels(Project.load(project), PSEUDO_LABELED)
    assert len(made) == outcome.figures["images"] == 40
    assert not {0, 30} & set(made.frames.tolist())
    where = [rig.names.index(camera) for camera in made.cameras]
    error = np.linalg.norm(made.xy - true[where, made.frames], axis=-1)
    assert np.nanmax(error) < 2.5
    assert len(load_labels(Project.load(project))) == 8
    steps.extract_frames(project, "walk", frames=f"1-{N_FRAMES - 1}")
    nothing = steps.extract_confirmed_frames(project, "walk")
    assert f"All {N_FRAMES} moments with confirmed points have pictures" in nothing.failed
    nothing = steps.extract_confirmed_frames(project, "walk", max_deviation=1e-6)
    assert "No point is confirmed by 3 views" in nothing.failed
    assert not len(load_labels(Project.load(project), PSEUDO_LABELED))


def test_a_network_learns_from_both(project):
    how = {"steps": 2, "batch_size": 2, "crop_size": 64, "scale": 0.25}
    steps.create_training_dataset(project, train_fraction=1.0)
    with pytest.raises(DataError, match="Run extract-confirmed-frames"):
        steps.train_network(project, pseudo_labels=True, **how)
    steps.triangulate_recording(project, "walk", trust_calibration=True)
    steps.extract_confirmed_frames(project, "walk", count=5)
    with pytest.warns(DataWarning, match="No image is kept for testing"):
        trained = steps.train_network(project, pseudo_labels=True, **how)
    assert trained.table[0]["images"] == 8
    assert trained.table[0]["pseudo_labeled"] == 20
    assert load_networks(project / "networks" / "network")
    steps.extract_confirmed_frames(project, "walk", count=6)
    with (
        pytest.warns(DataWarning, match="No image is kept for testing"),
        pytest.raises(DataError, match="trained with other settings: pseudo_labels was"),
    ):
        steps.train_network(project, pseudo_labels=True, **how)


def test_the_moment_of_a_late_camera_is_the_one_that_people_labelled(project):
    config = project / "config.yaml"
    text = config.read_text(encoding="utf-8")
    loaded = Project.load(project)
    late = loaded.cameras[2]
    config.write_text(text.replace("offsets: {}", f"offsets: {{walk: {{{late}: 0.1}}}}"), "utf-8")
    loaded = Project.load(project)
    labels = load_labels(loaded).at(slice(0, 1))  # of a camera that is not late, frame 0
    frames = [1, 3, 4]
    images = [f"pseudo-labels/walk_{late}/img{f:05d}.png" for f in frames]
    for image in images:
        write_image(project / image, np.full((480, 640), 100, np.uint8))
    xy = np.full((3, 1, len(NAMES), 2), 50.0)
    names = (["walk"] * 3, [late] * 3, frames, ("animal",), NAMES)
    save_labels(loaded, LabeledFrames(xy, images, *names))
    found = pseudo_labels_of(loaded, labels, lambda some: moment_numbers(loaded, some))
    assert found.frames.tolist() == [1, 4]  # its frame 3 is the others' frame 0


def test_points_of_other_keypoints_become_no_labels(project):
    steps.triangulate_recording(project, "walk", trust_calibration=True)
    steps.change_keypoints(project, remove=[NAMES[-1]], add=["hip"])
    with pytest.raises(DataError, match="not the project's any more. Train a network for these"):
        steps.extract_confirmed_frames(project, "walk")
