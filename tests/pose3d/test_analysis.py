"""An analysis that is stopped, changed or asked for what it cannot give."""

import signal
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.video import VideoWriter, read_frames
from pose3d import steps
from pose3d.formats.keypoints import load_keypoints_2d
from pose3d.networks.architecture import build_model, initialize
from pose3d.networks.spec import NetworkSpec
from pose3d.networks.storage import PoseNetwork, load_networks, save_network
from pose3d.project import Project
from pose3d.steps import analysis

N_FRAMES = 48


def save(project, **changes):
    """Save a network that never learnt anything; notes can be changed."""
    spec = NetworkSpec("unet", ("nose", "tail"), scale=1.0)
    model = build_model(spec)
    initialize(model, 0)
    network = PoseNetwork(spec, model, ("left", "top"), notes={"image_sizes": [[64, 48]]})
    return save_network(project / "networks" / "network", replace(network, **changes))


@pytest.fixture
def project(tmp_path, rng):
    folder = tmp_path / "project"
    videos = []
    for camera in ("left", "top"):
        videos.append(tmp_path / f"{camera}.mp4")
        with VideoWriter(videos[-1], 30) as writer:
            for _ in range(N_FRAMES):
                writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    steps.create_project(folder, cameras=["left", "top"], keypoints=["nose", "tail"])
    steps.add_recording(folder, "take", [str(video) for video in videos])
    save(folder)
    return folder


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name == "pose3d-prefetch"]


@pytest.fixture
def listens_to_ctrl_c():
    """Shells start what they run in the background deaf to it, and so these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_ctrl_c")
@pytest.mark.parametrize("at_once", [1, 2])
def test_an_interrupted_analysis_ends_soon_and_leaves_no_thread(project, monkeypatch, at_once):
    monkeypatch.setattr(analysis, "CHUNK_FRAMES", 8)
    saved = []
    whole_add = analysis._Chunks.add

    def add(self, number, *arrays):
        whole_add(self, number, *arrays)
        saved.append((self.camera, number))
        if saved[-1] == ("top", 0):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.3)  # the main thread wakes up, as it would in a longer video

    monkeypatch.setattr(analysis._Chunks, "add", add)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        steps.analyze_recording(project, "take", at_once=at_once)
    assert [number for camera, number in saved if camera == "left"] == list(range(6))
    assert len([number for camera, number in saved if camera == "top"]) <= 2
    assert not prefetching(), interrupted


def test_parts_of_another_engine_are_not_mixed_in(project, monkeypatch):
    expected = load_keypoints_2d(steps.analyze_recording(project, "take", engine="bfloat16").path)
    monkeypatch.setattr(analysis, "CHUNK_FRAMES", 8)
    whole_add = analysis._Chunks.add

    def add(self, number, *arrays):
        if number == 3:
            raise KeyboardInterrupt
        whole_add(self, number, *arrays)

    monkeypatch.setattr(analysis._Chunks, "add", add)
    with pytest.raises(KeyboardInterrupt):
        steps.analyze_recording(project, "take", engine="float32")
    monkeypatch.setattr(analysis._Chunks, "add", whole_add)
    project_path = Project.load(project).keypoints_2d_path("take")
    project_path.unlink()
    with pytest.raises(ValueError, match="engine is 'float23'; expected one of auto, plain"):
        steps.analyze_recording(project, "take", engine="float23")
    assert list(project_path.with_suffix(".parts").glob("*.h5"))
    found = load_keypoints_2d(steps.analyze_recording(project, "take", engine="bfloat16").path)
    np.testing.assert_array_equal(found.xy, expected.xy)


def test_a_damaged_note_of_the_engine_costs_the_parts_alone(project):
    parts = Project.load(project).keypoints_2d_path("take").with_suffix(".parts")
    for content in (b"float32 many", b"float32", b"\xff"):
        parts.mkdir(parents=True)
        (parts / "engine.txt").write_bytes(content)
        assert steps.analyze_recording(project, "take").figures["frames"] == 48
        Project.load(project).keypoints_2d_path("take").unlink()
        assert not parts.exists()


def test_likelihoods_that_are_worth_something_else_are_computed_anew(project):
    before = load_keypoints_2d(steps.analyze_recording(project, "take").path)
    weights = load_networks(project / "networks" / "network")["top"].digest
    learnt = {"slope": 1.0, "intercept": 2.0, "floor_px": 0.5, "share": 0.3, "n_points": 90}
    save(project, notes={"confidence": learnt})
    assert load_networks(project / "networks" / "network")["top"].digest == weights
    after = load_keypoints_2d(steps.analyze_recording(project, "take").path)
    assert (after.likelihood > before.likelihood).all()


def test_a_video_of_another_scale_than_the_labels_is_told(project, tmp_path):
    take = Project.load(project).recording("take")
    for size, advice in (((128, 96), "2 times as large .* Give shrink=0.5"),
                         ((32, 24), "0.5 times as large .* Take a larger video"),
                         ((66, 24), None), ((72, 54), None)):  # fmt: skip
        videos = []
        for camera, video in take.videos.items():
            videos.append(str(tmp_path / f"{size[0]}-{camera}.mp4"))
            with VideoWriter(videos[-1], 30) as writer:
                for frame in read_frames(video, frames=range(4)):
                    writer.write(cv2.resize(frame.image, size))
        name = f"take{size[0]}"
        steps.add_recording(project, name, videos)
        if advice is None:  # cut, or hardly larger
            steps.analyze_recording(project, name)
            continue
        with pytest.warns(DataWarning, match=advice):
            steps.analyze_recording(project, name)
    steps.analyze_recording(project, "take128", shrink=0.5)


def test_what_cannot_be_analysed_is_said_at_once(project):
    config = project / "config.yaml"
    text = config.read_text(encoding="utf-8")
    video = Project.load(project).recording("take").videos["top"]
    video.rename(video.with_name("elsewhere.mp4"))
    with pytest.raises(DataError, match="video of 'top', .* is not there. Put it there"):
        steps.analyze_recording(project, "take")
    config.write_text(
        text.replace("multianimalproject: false", "multianimalproject: true\nindividuals: [a, b]"),
        encoding="utf-8",
    )
    with pytest.raises(DataError, match="2 individuals .*one animal per image"):
        steps.analyze_recording(project, "take")
