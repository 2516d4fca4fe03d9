"""Trainings that are repeated, changed, or asked for what they cannot give."""

import re
import shutil
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.video import VideoWriter, read_image, write_image
from pose3d import steps
from pose3d.labels import LabeledFrames
from pose3d.networks import backbones, runs, training
from pose3d.networks.architecture import build_model, initialize
from pose3d.networks.batches import Examples, spread_out
from pose3d.networks.checkpoints import History, save_checkpoint
from pose3d.networks.datasets import load_split
from pose3d.networks.inference import Predictor
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.storage import PoseNetwork, load_networks, save_network
from pose3d.project import Project, load_labels, save_labels

KEYPOINTS = ("left_ear", "right_ear", "left_eye", "right_eye")
QUICK = {"steps": 2, "batch_size": 2, "crop_size": 64, "scale": 1.0, "precision": "float32"}


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """What is tested here does not depend on the size of the network; its tracing takes time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "_LEVELS", (16, 24, 32))
        yield


@pytest.fixture
def project(tmp_path, rng):
    """Ten labelled pictures of each of two cameras; ears are partners, eyes are not yet."""
    folder = tmp_path / "project"
    steps.create_project(
        folder, cameras=["left", "top"], keypoints=list(KEYPOINTS),
        symmetric=["left_ear:right_ear"],
    )  # fmt: skip
    images = [f"labeled-data/take_{c}/img{i:05d}.png" for c in ("left", "top") for i in range(10)]
    for image in images:
        blur = cv2.GaussianBlur(rng.normal(128, 60, (64, 80)), (0, 0), 2)
        write_image(folder / image, np.clip(blur, 0, 255).astype(np.uint8))
    label(folder, images, rng.uniform([10, 10], [70, 50], (20, 1, 4, 2)))
    return folder


def label(folder, images, xy):
    loaded = Project.load(folder)
    cameras = [image.split("/")[1].removeprefix("take_") for image in images]
    names = (["take"] * len(images), cameras, [int(image[-9:-4]) for image in images])
    save_labels(loaded, LabeledFrames(xy, images, *names, loaded.individuals, KEYPOINTS))


def test_training_again_changes_no_page_and_mends_one_that_is_gone(project):
    page = steps.train_network(project, **QUICK).path
    before = page.stat().st_size
    steps.train_network(project, **QUICK)
    assert page.stat().st_size == before
    page.unlink()
    steps.train_network(project, **QUICK)
    assert "What it finds" in page.read_text(encoding="utf-8")


def test_what_was_not_trained_here_is_not_taken_for_it(project):
    folder = steps.train_network(project, **QUICK).path.parent
    (folder / "checkpoints").mkdir()  # of a training that was killed when it was done
    steps.train_network(project, **QUICK)
    assert not (folder / "checkpoints").exists()
    (folder / "training.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read .it holds no settings.*Train under"):
        steps.train_network(project, **QUICK)
    (folder / "training.json").unlink()
    with pytest.raises(DataError, match="was not trained there: .* Give another name, or restart"):
        steps.train_network(project, **QUICK | {"steps": 3})
    steps.train_network(project, restart=True, **QUICK)
    shutil.copytree(folder, folder.with_name("other"))
    for name in ("network.json", "training.json"):
        (folder.with_name("other") / name).unlink()
    arrays = load_networks(folder)["top"].model.get_weights()
    save_checkpoint(folder.with_name("other") / "checkpoints", {"weights": {}}, History([1.0] * 3))
    steps.train_network(project, name="other", **QUICK)
    for one, other in zip(
        arrays, load_networks(folder.with_name("other"))["top"].model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_other_partners_are_another_training(project):
    steps.train_network(project, **QUICK)
    config = project / "config.yaml"
    text = config.read_text(encoding="utf-8")
    added = re.sub(r"( *)(- \[left_ear, right_ear\])", r"\1\2\n\1- [left_eye, right_eye]", text)
    assert added != text
    config.write_text(added, encoding="utf-8")
    with pytest.raises(DataError, match=r"mirrored was \[1, 0, 2, 3\], is \[1, 0, 3, 2\]"):
        steps.train_network(project, **QUICK)


def test_partners_do_not_matter_where_nothing_is_mirrored(project):
    steps.train_network(project, flip=False, **QUICK)
    config = project / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("[left_ear, right_ear]", "[left_eye, right_eye]"), "utf-8")
    steps.train_network(project, flip=False, **QUICK)


def test_what_was_measured_of_a_network_goes_with_it(project):
    folder = steps.train_network(project, **QUICK).path.parent
    steps.evaluate_network(project)
    assert len(list(folder.glob("evaluation*"))) == 4
    steps.train_network(project, restart=True, **QUICK)
    assert not list(folder.glob("evaluation*"))
    assert (folder / "split.json").is_file()


def test_a_page_of_images_with_nothing_to_compare_is_written(project):
    split = load_split(steps.create_training_dataset(project, train_fraction=0.8).path)
    labels = load_labels(Project.load(project))
    xy = labels.xy.copy()
    xy[np.isin(labels.images, split.train), :, 3] = np.nan
    xy[np.isin(labels.images, split.test), :, :3] = np.nan  # the only labels of what is not learnt
    save_labels(Project.load(project), replace(labels, xy=xy))
    with pytest.warns(DataWarning, match="has a label of right_eye: the network will not find"):
        page = steps.train_network(project, **QUICK).path
    assert "nothing to compare" in page.read_text(encoding="utf-8")


def test_a_camera_with_too_few_images_is_told_before_any_is_trained(project):
    labels = load_labels(Project.load(project))
    few = labels.at(np.array([c == "left" or f == 0 for c, f in
                              zip(labels.cameras, labels.frames, strict=True)]))  # fmt: skip
    save_labels(Project.load(project), few)
    with pytest.raises(DataError, match="1 images of top are labelled and for training"):
        steps.train_network(project, per_view=True, **QUICK)
    assert not list((project / "networks" / "network").glob("*/*"))


def test_networks_of_some_cameras_are_not_taken_for_all(project, monkeypatch):
    whole = runs.perform

    def perform(run, *arguments, **options):
        if run.cameras == ("top",):
            monkeypatch.setattr(runs, "save_network", None)
        return whole(run, *arguments, **options)

    monkeypatch.setattr(runs, "perform", perform)
    with pytest.raises(TypeError):
        steps.train_network(project, per_view=True, **QUICK)
    monkeypatch.undo()
    monkeypatch.setattr(backbones, "_LEVELS", (16, 24, 32))
    folder = project / "networks" / "network"
    with pytest.raises(DataError, match="no network for top yet. Give the same train-network"):
        load_networks(folder)
    steps.train_network(project, per_view=True, **QUICK)
    assert set(load_networks(folder)) == {"left", "top"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected more than 0"),
        ({"crop_size": 0}, "crop_size is 0; expected at least 1"),
        ({"rotation": -30.0}, "rotation is -30.0; expected 0 to 180"),
        ({"rotation": float("nan")}, "rotation is nan; expected 0 to 180"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"checkpoint_seconds": float("nan")}, "checkpoint_seconds is nan; expected 0 or more"),
    ],
)
def test_settings_that_mean_nothing_are_refused(project, wrong, message):
    steps.create_training_dataset(project)
    with pytest.raises(ValueError, match=message):
        steps.train_network(project, **QUICK | wrong)


def test_images_of_one_moment_stay_together_where_a_camera_is_late(project, tmp_path):
    videos = []
    for camera in ("left", "top"):
        videos.append(str(tmp_path / f"{camera}.mp4"))
        with VideoWriter(videos[-1], 25) as writer:
            for _ in range(12):
                writer.write(np.zeros((64, 80, 3), np.uint8))
    steps.add_recording(project, "take", videos)
    config = project / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("offsets: {}", "offsets: {take: {top: 0.08}}"), "utf-8")
    for outcome in (
        steps.create_training_dataset(project, train_fraction=0.5),
        steps.create_training_dataset(project, name="later", test_from=5),
    ):
        split = load_split(outcome.path)
        moments = {}
        for part in ("train", "test"):
            found = [re.search(r"take_(\w+)/img(\d+)", image) for image in getattr(split, part)]
            moments[part] = {int(m[2]) - (2 if m[1] == "top" else 0) for m in found}
        assert not moments["train"] & moments["test"]
        assert len(moments["train"]) + len(moments["test"]) == 12


def test_images_of_all_cameras_are_tried(tmp_path, rng, monkeypatch):
    assert spread_out(5, 64).tolist() == [0, 1, 2, 3, 4]
    monkeypatch.setattr(training, "_MOST_TESTS", 4)
    monkeypatch.setattr(runs, "_MOST_MEASURED", 4)
    paths = [
        write_image(tmp_path / f"{i}.png", rng.integers(0, 256, (64, 64), dtype=np.uint8))
        for i in range(12)
    ]
    xy = np.full((12, 8, 2), np.nan)  # the images of the first camera have no labels
    xy[6:] = rng.uniform(10, 50, (6, 8, 2))
    spec = NetworkSpec("unet", tuple("abcdefgh"), scale=1.0)
    model = build_model(spec)
    initialize(model, 0)
    tests = Examples(paths, xy, spec)
    assert training._Trial(model, tests).mean_error_px() > 0
    assert runs.measure_confidence(model, tests, (), absent=False).n_points == 16


def test_what_goes_wrong_in_a_step_leaves_no_thread(tmp_path, rng):
    path = write_image(tmp_path / "0.png", rng.integers(0, 256, (64, 64), dtype=np.uint8))
    spec = NetworkSpec("unet", ("nose",), scale=1.0)
    examples = Examples([path], np.full((1, 1, 2), 30.0), spec)
    settings = training.TrainingSettings(steps=50, batch_size=1, crop_size=64)

    def fail(history):
        raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room") as kept:
        training.train(
            spec, settings, examples, tmp_path, mirrored=np.arange(1), progress=fail
        )  # fmt: skip
    assert not [t for t in threading.enumerate() if t.name == "pose3d-prefetch"], kept


def test_a_network_is_no_better_for_a_keypoint_that_it_never_learnt(project):
    spec = NetworkSpec("unet", KEYPOINTS, scale=1.0)
    model = build_model(spec)
    initialize(model, 0)
    for name, untrained in (("whole", ()), ("part", ("left_eye", "right_eye"))):
        steps.create_training_dataset(project, name=name, train_fraction=0.5)
        save_network(
            project / "networks" / name, PoseNetwork(spec, model, ("left", "top"), untrained)
        )
    compared = steps.compare_networks(project, names=["whole", "part", "whole"])
    assert len(compared.table) == 2
    assert compared.table[0]["mean_error_px"] == compared.table[1]["mean_error_px"]
    assert compared.figures["n_points"] == 2 * compared.figures["n_images"]
    assert f"{compared.figures['n_points']} points of keypoints that not all" in compared.summary
    with pytest.raises(DataError, match="Two trained networks are needed"):
        steps.compare_networks(project, names=["whole", "whole"])
    with pytest.raises(FileNotFoundError, match="in .*other; trained are part, whole. Train"):
        steps.compare_networks(project, names=["whole", "other"])
    with pytest.raises(ValueError, match="network's name"):
        steps.compare_networks(project, names=["whole", "../whole"])
    (project / "networks" / "whole" / "split.json").unlink()
    with pytest.raises(DataError, match="Make it with create-training-dataset"):
        steps.compare_networks(project)
    for wrong, message in (({"min_likelihood": 60.0}, "min_likelihood is 60.0; expected 0 to 1"),
                           ({"worst": -1}, "worst is -1; expected 0 or more")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            steps.evaluate_network(project, name="part", **wrong)


def test_one_keypoint_is_evaluated_without_the_animal_s_size(tmp_path, rng):
    folder = tmp_path / "project"
    steps.create_project(folder, cameras=["top"], keypoints=["nose"])
    images = [f"labeled-data/take_top/img{i:05d}.png" for i in range(8)]
    for image in images:
        write_image(folder / image, rng.integers(0, 256, (64, 80), dtype=np.uint8))
    loaded = Project.load(folder)
    names = (["take"] * 8, ["top"] * 8, np.arange(8), loaded.individuals, ("nose",))
    save_labels(loaded, LabeledFrames(rng.uniform(10, 50, (8, 1, 1, 2)), images, *names))
    steps.create_training_dataset(folder, train_fraction=0.5)
    spec = NetworkSpec("unet", ("nose",), scale=1.0)
    model = build_model(spec)
    initialize(model, 0)
    save_network(folder / "networks" / "network", PoseNetwork(spec, model, ("top",)))
    outcome = steps.evaluate_network(folder)
    assert np.isfinite(outcome.figures["test_mean_error_px"])
    assert np.isnan(outcome.figures["test_pck_0.1"])
    assert "No image has two labels" in outcome.path.read_text(encoding="utf-8")


def test_a_keypoint_that_was_not_learnt_counts_as_wrong(project):
    spec = NetworkSpec("unet", KEYPOINTS, scale=1.0)
    model = build_model(spec)
    initialize(model, 0)
    labels = load_labels(Project.load(project))
    images = [read_image(project / image, pixels="luma") for image in labels.images]
    found = Predictor(model, spec).predict(images).xy
    save_labels(Project.load(project), replace(labels, xy=found[:, np.newaxis]))
    shares = []
    for name, untrained in (("whole", ()), ("part", ("left_eye", "right_eye"))):
        steps.create_training_dataset(project, name=name, train_fraction=0.5)
        save_network(
            project / "networks" / name, PoseNetwork(spec, model, ("left", "top"), untrained)
        )
        figures = steps.evaluate_network(project, name=name).figures
        assert figures["test_mean_error_px"] < 0.01
        shares.append((figures["test_pck_0.1"], figures["test_map"]))
    assert shares == [(1.0, pytest.approx(1.0)), (0.5, pytest.approx(0.1))]
