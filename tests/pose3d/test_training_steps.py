"""From labels to keypoints by the public verbs, also when they are killed on the way."""

import csv
import json
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.recordings import Recording
from calibration.video import VideoWriter, write_image
from pose3d import steps
from pose3d.formats.keypoints import load_keypoints_2d, read_origin
from pose3d.formats.tensors import load_tensors
from pose3d.labels import LabeledFrames
from pose3d.networks.storage import load_networks
from pose3d.project import Project, load_labels, save_labels
from pose3d.steps import analysis
from pose3d.steps.moments import match_times

CAMERAS = ("left", "top")
N_FRAMES = {"left": 60, "top": 56}
SHORT = {"steps": 60, "batch_size": 4, "crop_size": 128, "scale": 1.0, "seed": 3}


def paths_of_dots(n_frames, phase):
    """Move two dots through the picture, (n_frames, 2, 2)."""
    t = np.arange(n_frames) / 9 + phase
    first = np.stack([60 + 35 * np.cos(t), 48 + 22 * np.sin(t)], axis=-1)
    second = np.stack([64 - 30 * np.cos(0.7 * t), 48 - 25 * np.sin(1.1 * t)], axis=-1)
    return np.stack([first, second], axis=1)


def picture(background, xy):
    x, y = np.meshgrid(np.arange(128), np.arange(96))
    image = background.copy()
    for (px, py), height in zip(xy, (110, -110), strict=True):
        image += height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / 2.5**2)
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return np.repeat(image[..., np.newaxis], 3, axis=2)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def truth():
    return {camera: paths_of_dots(N_FRAMES[camera], i) for i, camera in enumerate(CAMERAS)}


@pytest.fixture(scope="module")
def project(tmp_path_factory, truth):
    """A project of two cameras with a take of two dots; every fifth frame is labelled."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("dots") / "project"
    videos = []
    for camera in CAMERAS:
        background = cv2.GaussianBlur(rng.normal(128, 50, (96, 128)), (0, 0), 3)
        video = folder.parent / f"{camera}.mp4"
        with VideoWriter(video, 30) as writer:
            for xy in truth[camera]:
                writer.write(picture(background, xy))
        videos.append(str(video))
        for frame in range(0, 50, 5):
            image = picture(background, truth[camera][frame])
            write_image(folder / "labeled-data" / f"take_{camera}" / f"img{frame:05d}.png", image)
    steps.create_project(folder, cameras=list(CAMERAS), keypoints=["bright", "dark"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # unequal lengths, which are wanted here
        steps.add_recording(folder, "take", videos)
    frames = list(range(0, 50, 5))
    save_labels(
        Project.load(folder),
        LabeledFrames(
            xy=np.concatenate([truth[camera][frames] for camera in CAMERAS])[:, np.newaxis],
            images=[f"labeled-data/take_{c}/img{f:05d}.png" for c in CAMERAS for f in frames],
            recordings=["take"] * 20,
            cameras=[camera for camera in CAMERAS for _ in frames],
            frames=frames * 2,
            individuals=("animal",),
            keypoints=("bright", "dark"),
        ),
    )
    return folder


@pytest.fixture(scope="module")
def trained(project):
    steps.create_training_dataset(project, train_fraction=0.8)
    return steps.train_network(project, **SHORT)


@pytest.fixture(scope="module")
def analyzed(project, trained):
    with pytest.warns(DataWarning, match="'top' has 56 frames and none at 4 of the 60 moments"):
        return steps.analyze_recording(project, "take")


def test_the_split_keeps_a_moment_together_and_depends_on_the_seed(project):
    splits = []
    for seed in (0, 0, 1):
        outcome = steps.create_training_dataset(
            project, name="split", train_fraction=0.7, seed=seed
        )
        split = json.loads(outcome.path.read_text())
        assert len(split["train"]) == 14
        assert len(split["test"]) == 6
        frames = [{image.split("/")[-1] for image in split[part]} for part in ("train", "test")]
        assert not frames[0] & frames[1]
        splits.append(split["train"])
    assert splits[0] == splits[1] != splits[2]


def test_the_split_can_be_by_time(project):
    outcome = steps.create_training_dataset(project, name="later", test_from=40)
    split = json.loads(outcome.path.read_text())
    assert {image[-6:-4] for image in split["test"]} == {"40", "45"}
    assert outcome.figures["n_train"] == 16
    with pytest.raises(DataError, match="0 to 45; none lies on the test side of 50"):
        steps.create_training_dataset(project, name="later", test_from=50)


def test_a_trained_network_s_split_is_not_changed(project, trained):
    steps.create_training_dataset(project, train_fraction=0.8)  # the same
    with pytest.raises(DataError, match="trained in .* on another split"):
        steps.create_training_dataset(project, train_fraction=0.6)


def test_training_leaves_a_network_a_curve_and_no_checkpoints(project, trained):
    folder = project / "networks" / "network"
    assert trained.path == folder / "learning-curve.html"
    assert "plotly" in trained.path.read_text(encoding="utf-8").lower()
    assert not (folder / "checkpoints").exists()
    rows = rows_of(folder / "history.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 61))
    assert float(rows[-1]["test_error_px"]) == pytest.approx(
        trained.figures["test_error_px"], abs=1e-3
    )
    assert trained.figures["test_error_px"] < 2


def test_training_again_returns_the_network_and_other_settings_are_refused(project, trained):
    before = load_networks(project / "networks" / "network")["top"].digest
    again = steps.train_network(project, **SHORT)
    assert load_networks(again.path.parent)["top"].digest == before
    with pytest.raises(DataError, match=r"trained with .*steps was 60, is 70\. Give another name"):
        steps.train_network(project, **SHORT | {"steps": 70})
    with pytest.raises(DataError, match="another kind of network, one for all cameras"):
        steps.train_network(project, per_view=True, **SHORT)


def test_a_training_that_ran_out_of_time_says_how_far_it_came(project, trained):
    how = SHORT | {"steps": 9000, "minutes": 0.01}
    outcome = steps.train_network(project, name="hurried", **how)
    assert outcome.figures["steps"] < 9000
    assert f"up after {outcome.figures['steps']} of 9000 steps." in outcome.summary
    assert "has not learnt them yet" in steps.evaluate_network(project, name="hurried").summary
    assert "learnt" not in steps.evaluate_network(project, min_likelihood=0.1).summary


def test_the_evaluation_tells_train_from_test_and_keypoint_from_keypoint(project, trained):
    outcome = steps.evaluate_network(project, min_likelihood=0.5)
    assert outcome.figures["test_mean_error_px"] < 2
    assert outcome.figures["test_n_points"] == 8
    assert outcome.figures["train_n_points"] == 32
    low, high = (outcome.figures[f"test_mean_error_{end}_px"] for end in ("low", "high"))
    assert low <= outcome.figures["test_mean_error_px"] <= high
    assert [(row["part"], row["keypoint"]) for row in outcome.table][-3:] == [
        ("test", "all"), ("test", "bright"), ("test", "dark")
    ]  # fmt: skip
    folder = project / "networks" / "network"
    record = json.loads((folder / "evaluation.json").read_text())
    assert record["figures"]["test_mean_error_px"] == outcome.figures["test_mean_error_px"]
    images = rows_of(folder / "evaluation-images.csv")
    assert len(images) == 40
    assert float(images[0]["error_px"]) >= float(images[-1]["error_px"])


def test_an_image_that_cannot_be_read_does_not_count_in_the_evaluation(project, trained):
    path = project / "labeled-data" / "take_top" / "img00010.png"
    content = path.read_bytes()
    path.write_bytes(content[:100])
    try:
        with pytest.warns(DataWarning, match="1 labelled images .*img00010.png"):
            outcome = steps.evaluate_network(project)
    finally:
        path.write_bytes(content)
    assert outcome.figures["test_n_points"] + outcome.figures["train_n_points"] == 38


def test_the_analysis_finds_the_dots_and_says_where_a_camera_has_no_frame(project, analyzed, truth):
    found = load_keypoints_2d(analyzed.path)
    assert found.cameras == CAMERAS
    assert found.n_frames == 60
    assert found.image_sizes.tolist() == [[128, 96]] * 2
    assert found.fps == pytest.approx(30, rel=1e-3)
    for i, camera in enumerate(CAMERAS):
        n_frames = N_FRAMES[camera]
        errors = np.linalg.norm(found.xy[i, :n_frames, 0] - truth[camera], axis=-1)
        assert np.median(errors) < 1.0
        assert np.isnan(found.xy[i, n_frames:]).all()
        assert (found.likelihood[i, n_frames:] == 0).all()
    assert not analyzed.path.with_suffix(".parts").exists()
    assert read_origin(analyzed.path)["arguments"]["network"] == "network"


def test_what_is_analysed_is_not_analysed_again(project, analyzed):
    before = analyzed.path.stat().st_mtime_ns
    again = steps.analyze_recording(project, "take")
    assert "before" in again.summary
    assert analyzed.path.stat().st_mtime_ns == before


def test_an_analysis_goes_on_where_it_stopped_and_gives_the_same(project, analyzed, monkeypatch):
    expected = load_keypoints_2d(analyzed.path)
    monkeypatch.setattr(analysis, "CHUNK_FRAMES", 16)
    saved = []

    def add(self, number, *arrays):
        if len(saved) == 5:
            raise KeyboardInterrupt
        saved.append((self.camera, number))
        whole_add(self, number, *arrays)

    whole_add = analysis._Chunks.add
    monkeypatch.setattr(analysis._Chunks, "add", add)
    with pytest.raises(KeyboardInterrupt):
        steps.analyze_recording(project, "take", restart=True)
    assert saved == [("left", 0), ("left", 1), ("left", 2), ("left", 3), ("top", 0)]
    parts = sorted(analyzed.path.with_suffix(".parts").glob("*.h5"))
    parts[1].write_bytes(parts[1].read_bytes()[:2000])  # left, 16 to 31
    rest = []

    def note(self, number, *arrays):
        rest.append((self.camera, number))
        whole_add(self, number, *arrays)

    monkeypatch.setattr(analysis._Chunks, "add", note)
    analyzed.path.unlink()
    with pytest.warns(DataWarning, match="do not have the same moments"):
        steps.analyze_recording(project, "take")
    assert rest == [("left", 1), ("top", 1), ("top", 2), ("top", 3)]
    found = load_keypoints_2d(analyzed.path)
    np.testing.assert_array_equal(found.xy, expected.xy)
    np.testing.assert_array_equal(found.likelihood, expected.likelihood)


@pytest.mark.filterwarnings("ignore:.*do not have the same moments")
def test_an_analysis_can_look_at_less_or_at_several_videos_at_once(project, analyzed):
    expected = load_keypoints_2d(analyzed.path)
    assert np.isfinite(expected.covariance[:, :56]).all()
    steps.analyze_recording(project, "take", at_once=2, follow=True)
    found = load_keypoints_2d(analyzed.path)
    error = np.linalg.norm(found.xy - expected.xy, axis=-1)
    assert np.nanmedian(error) < 0.1
    some = steps.analyze_recording(project, "take", every=3)
    assert [row["frames"] for row in some.table] == [20, 19]
    assert some.figures["likely"] > 0.9
    assert min(row["median_likelihood"] for row in some.table) > 0.9
    found = load_keypoints_2d(analyzed.path)
    there = np.isfinite(found.xy[0, :, 0, 0, 0])
    assert np.flatnonzero(there).tolist() == list(range(0, 60, 3))
    np.testing.assert_allclose(found.xy[0, ::3], expected.xy[0, ::3], atol=1e-3)
    steps.analyze_recording(project, "take", shrink=0.75)
    found = load_keypoints_2d(analyzed.path)
    assert found.xy.shape == expected.xy.shape
    assert not np.array_equal(found.xy, expected.xy, equal_nan=True)
    with pytest.raises(ValueError, match="shrink is 2"):
        steps.analyze_recording(project, "take", shrink=2)
    steps.analyze_recording(project, "take")


def test_parts_of_another_network_are_not_taken(project, analyzed, monkeypatch):
    expected = load_keypoints_2d(analyzed.path)
    monkeypatch.setattr(analysis, "CHUNK_FRAMES", 16)
    parts = analyzed.path.with_suffix(".parts")
    video = next(iter(Project.load(project).recording("take").videos.values()))
    mark = {"video": str(video), "weights": "of another network"}
    other = analysis._Chunks(parts, "left", 60, mark)
    points = np.zeros((16, 2, 2))
    other.add(0, np.arange(16), points, np.ones((16, 2)), np.zeros((16, 2, 2, 2)))
    with pytest.warns(DataWarning, match="do not have the same moments"):
        outcome = steps.analyze_recording(project, "take", batch_size=4)
    found = load_keypoints_2d(outcome.path)
    np.testing.assert_allclose(found.xy, expected.xy, atol=1e-3)


def test_one_network_per_view_is_the_same_command(project, truth, trained):
    outcome = steps.train_network(project, name="views", per_view=True, **SHORT | {"steps": 2})
    networks = load_networks(outcome.path)
    assert set(networks) == {"left", "top"}
    assert networks["left"].cameras == ("left",)
    assert [row["images"] for row in outcome.table] == [9, 9]  # one moment is kept for testing
    with pytest.warns(DataWarning, match="do not have the same moments"):
        analyzed = steps.analyze_recording(project, "take", network="views")
    assert load_keypoints_2d(analyzed.path).cameras == CAMERAS
    compared = steps.compare_networks(project, names=["network", "views"])
    best, other = compared.table
    assert (best["network"], best["kind"], other["kind"]) == ("network", "shared", "per view")
    assert best["mean_error_px"] < other["mean_error_px"]
    assert compared.path.with_suffix(".csv").is_file()
    text = compared.path.read_text()
    assert all(f"<td class=text>{name}</td>" in text for name in CAMERAS)
    n_images = min(12, compared.figures["n_images"])
    assert text.count("<figcaption>network, ") == text.count("<figcaption>views, ") == n_images
    with pytest.raises(DataError, match="Two trained networks are needed"):
        steps.compare_networks(project, names=["network"])


def test_a_keypoint_without_labels_is_named_and_never_found(project, tmp_path):
    import shutil

    copy = tmp_path / "project"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("networks", "keypoints-2d"))
    labels = load_labels(Project.load(copy))
    xy = labels.xy.copy()
    xy[:, :, 1] = np.nan
    save_labels(Project.load(copy), replace(labels, xy=xy))
    with pytest.warns(DataWarning, match="No training image of left, top has a label of dark"):
        steps.train_network(copy, **SHORT | {"steps": 2})
    with pytest.warns(DataWarning, match="do not have the same moments"):
        outcome = steps.analyze_recording(copy, "take")
    found = load_keypoints_2d(outcome.path)
    assert np.isnan(found.xy[..., 1, :]).all()
    assert np.isfinite(found.xy[:, :56, :, 0]).all()


def test_what_is_missing_is_said_with_what_to_do(project, tmp_path):
    with pytest.raises(FileNotFoundError, match="no trained network .*train-network"):
        steps.analyze_recording(project, "take", network="none")
    with pytest.raises(DataError, match="no recording 'tke'"):
        steps.analyze_recording(project, "tke")
    with pytest.raises(ValueError, match="backbone is 'resnet50'; expected one of unet"):
        steps.train_network(project, name="typo", backbone="resnet50")
    with pytest.raises(FileNotFoundError, match="no file of weights .*imagenet"):
        steps.train_network(project, name="typo", backbone="resnet_50", weights="weights.h5")
    with (
        pytest.warns(DataWarning, match="names no symmetric keypoints"),
        pytest.raises(ValueError, match="crop_size is 100; unet needs a multiple of 64"),
    ):
        steps.train_network(project, name="typo", flip=True, crop_size=100)


@pytest.mark.parametrize(
    ("clocks", "offsets", "expected"),
    [
        # a lost frame: the others keep their moment
        ({"a": [0, 1, 2, 3], "b": [0, 1, 3]}, [0, 0], {"a": [0, 1, 2, 3], "b": [0, 1, -1, 2]}),
        # started a frame late
        ({"a": [0, 1, 2, 3], "b": [0, 1, 2]}, [0, -1], {"a": [0, 1, 2, 3], "b": [-1, 0, 1, 2]}),
        # half the rate
        ({"a": [0, 1, 2, 3], "b": [0, 2]}, [0, 0], {"a": [0, 1, 2, 3], "b": [0, -1, 1, -1]}),
        # stamps rounded otherwise
        ({"a": [0, 1.01, 1.99], "b": [0, 1, 2]}, [0, 0], {"a": [0, 1, 2], "b": [0, 1, 2]}),
        ({"a": [0, 1, 2], "b": [0]}, [0, 0], {"a": [0, 1, 2], "b": [0, -1, -1]}),
    ],
)
def test_frames_are_matched_by_time(clocks, offsets, expected):
    clocks = {camera: np.array(clock, float) for camera, clock in clocks.items()}
    take = Recording("take", {camera: f"{camera}.mp4" for camera in clocks}, offsets)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        common, places = match_times(clocks, take)
    np.testing.assert_array_equal(common, clocks["a"])
    assert {camera: place.tolist() for camera, place in places.items()} == expected
    assert bool(told) == any(-1 in place for place in expected.values())


RUN = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pose3d import steps
from pose3d.steps import analysis
analysis.CHUNK_FRAMES = 8
arguments = json.loads(sys.argv[3])
getattr(steps, sys.argv[1])(sys.argv[2], *arguments.pop("positional", []), **arguments)
"""


def kill_when(project, step, arguments, ready):
    """Run a step in a process of its own and kill it when something is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, step, str(project), json.dumps(arguments)]
    )
    while process.poll() is None and not ready():
        time.sleep(0.005)
    process.kill()
    return process.wait()


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_to_the_very_same_network(project, trained, rng):
    wanted = load_networks(project / "networks" / "network")["left"].digest
    steps.create_training_dataset(project, name="killed", train_fraction=0.8)
    checkpoints = project / "networks" / "killed" / "checkpoints"
    arguments = SHORT | {"name": "killed", "checkpoint_seconds": 0.0}
    for goal in (5, 40):
        moment = time.monotonic() + 300

        def ready(goal=goal):
            nonlocal moment
            names = [path.name for path in checkpoints.glob("checkpoint-*")]
            if names and int(max(names)[11:20]) >= goal:
                moment = min(moment, time.monotonic() + rng.uniform(0, 0.15))
            return time.monotonic() > moment

        assert kill_when(project, "train_network", arguments, ready) == -9
    assert not (project / "networks" / "killed" / "network.json").exists()
    steps.train_network(project, **arguments)
    network = load_networks(project / "networks" / "killed")["left"]
    assert network.digest == wanted
    rows = rows_of(project / "networks" / "killed" / "history.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 61))


@pytest.mark.slow
def test_an_analysis_that_is_killed_goes_on_to_the_very_same_result(project, analyzed, rng):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # unequal lengths
        # other tests analysed the take with other networks since
        analyzed = steps.analyze_recording(project, "take", restart=True)
    expected = load_keypoints_2d(analyzed.path)
    analyzed.path.unlink()
    parts = analyzed.path.with_suffix(".parts")
    arguments = {"positional": ["take"]}
    for goal in (1, 9):

        def ready(goal=goal):
            return len(list(parts.glob("[!.]*.h5"))) >= goal

        kill_when(project, "analyze_recording", arguments, ready)
        assert not analyzed.path.exists() or goal == 9
        for path in parts.glob("[!.]*.h5"):
            load_tensors(path)  # whole
    process = subprocess.run(
        [sys.executable, "-c", RUN, "analyze_recording", str(project), json.dumps(arguments)]
    )
    assert process.returncode == 0
    found = load_keypoints_2d(analyzed.path)
    np.testing.assert_array_equal(found.xy, expected.xy)
    np.testing.assert_array_equal(found.likelihood, expected.likelihood)
