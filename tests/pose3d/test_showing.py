import os
from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.synthetic import ring_rig
from calibration.video import VideoWriter, count_frames, probe_video, read_frame
from pose3d import steps
from pose3d.formats.keypoints import save_keypoints_2d, save_keypoints_3d
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.steps import showing

N_FRAMES = 6
NAMES = ("nose", "tail")


@pytest.fixture
def project(tmp_path):
    """A project with one recording of two cameras: grey pictures, two keypoints."""
    rig = ring_rig(2, image_size=(160, 120), radius=300, focal=150)
    videos = []
    for name in rig.names:
        path = tmp_path / "raw" / f"{name}.mp4"
        with VideoWriter(path, 25) as video:
            for _ in range(N_FRAMES):
                video.write(np.full((120, 160, 3), 100, np.uint8))
        videos.append(f"{name}={path}")
    folder = tmp_path / "project"
    steps.create_project(
        folder, cameras=list(rig.names), keypoints=list(NAMES), skeleton=["nose-tail"], task="Walk"
    )
    steps.add_recording(folder, "trot", videos)
    return folder, rig


@pytest.fixture
def analysed(project):
    folder, rig = project
    points = np.zeros((N_FRAMES, 1, 2, 3)) + [[[0, 0, 0], [40, 0, 0]]]
    points[:, 0, 0, 1] = np.arange(N_FRAMES)
    xy = rig.project(points)
    times = np.arange(N_FRAMES) / 25
    seen = Keypoints2D(xy, np.full(xy.shape[:-1], 0.9), rig.names, ("animal",), NAMES, times)
    save_keypoints_2d(folder / "keypoints-2d" / "trot.h5", seen)
    views = xy.shape[:-1]
    path = Keypoints3D(
        points, np.broadcast_to(np.eye(3), (*points.shape, 3)), np.ones(views[1:]), np.ones(views),
        np.ones(views, bool), np.zeros(views[1:], np.uint8), np.zeros(views[1:], bool), rig.names,
        ("animal",), NAMES, times, "mm",
    )  # fmt: skip
    save_keypoints_3d(folder / "keypoints-3d" / "trot.h5", path)
    return folder, seen, path


def test_viewer_lies_where_reports_lie(analysed):
    folder, _, _ = analysed
    outcome = steps.show_recording(folder, "trot", open_browser=False)
    assert outcome.path == folder / "reports" / "trot.html"
    text = outcome.path.read_text(encoding="utf-8")
    assert '"title":"Walk: trot"' in text
    assert '"step":"show_recording"' in text
    assert str(folder) not in text  # a page is sent to others
    assert outcome.figures["keypoints_3d"] == "trot.h5"
    assert "2D and 3D keypoints" in outcome.summary


def test_most_refined_keypoints_are_shown(analysed):
    folder, _, path = analysed
    save_keypoints_3d(folder / "keypoints-3d" / "trot.refined.h5", path)
    outcome = steps.show_recording(folder, "trot", open_browser=False, max_video_mb=0)
    assert outcome.figures["keypoints_3d"] == "trot.refined.h5"
    os.utime(folder / "keypoints-3d" / "trot.refined.h5", (1, 1))
    with pytest.warns(DataWarning, match="newer than trot.refined.h5"):
        steps.show_recording(folder, "trot", open_browser=False, max_video_mb=0)


@pytest.fixture
def calibrated(analysed, project):
    from calibration.formats.toml import save_rig

    save_rig(project[1], analysed[0] / "calibration.toml")
    return analysed[0]


def test_cameras_are_shown_once_there_is_a_calibration(calibrated):
    outcome = steps.show_recording(calibrated, "trot", open_browser=False, max_video_mb=0)
    assert '"name":"cam_1","corners"' in outcome.path.read_text(encoding="utf-8")


def test_videos_alone_can_be_watched(project):
    folder, _ = project
    outcome = steps.show_recording(folder, "trot", open_browser=False, first_frame=2, n_frames=3)
    text = outcome.path.read_text(encoding="utf-8")
    assert '"n_frames":3,"first_frame":2' in text
    assert "no keypoints" in outcome.summary


def test_browser_is_opened_where_there_is_a_screen(project, monkeypatch):
    opened = []
    monkeypatch.setattr(showing.webbrowser, "open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(showing.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert not steps.show_recording(project[0], "trot").figures["opened"]
    monkeypatch.setenv("DISPLAY", ":0")
    outcome = steps.show_recording(project[0], "trot")
    assert opened == [outcome.path.as_uri()]


def test_unknown_recording_is_named(project):
    with pytest.raises(DataError, match="Did you mean 'trot'"):
        steps.show_recording(project[0], "trott", open_browser=False)


def test_labelled_video_has_dots_where_keypoints_are(analysed):
    folder, seen, _ = analysed
    outcome = steps.create_labeled_video(folder, "trot")
    assert outcome.path == folder / "reports" / "trot.mp4"
    assert count_frames(outcome.path) == N_FRAMES
    picture = read_frame(outcome.path, 3).astype(int)
    assert picture.shape == (120, 320, 3)
    x, y = np.rint(seen.xy[1, 3, 0, 0]).astype(int) + [160, 0]
    assert np.abs(picture[y, x] - 100).sum() > 60
    assert np.abs(picture[100:, 160:] - 100).max() < 12


def test_labelled_video_of_some_cameras(analysed):
    folder, _, _ = analysed
    outcome = steps.create_labeled_video(
        folder, "trot", cameras=["cam_1"], out=folder / "one.mp4", min_likelihood=0.95
    )
    assert read_frame(outcome.path, 0).shape == (120, 160, 3)
    with pytest.raises(DataError, match="no camera 'cam_9'"):
        steps.create_labeled_video(folder, "trot", cameras=["cam_9"])


def test_labelled_video_shows_trails_likelihood_and_some_frames(analysed):
    folder, seen, _ = analysed
    xy = np.full(seen.xy.shape, 60.0)
    xy[..., 0] += 15 * np.arange(N_FRAMES)[:, np.newaxis, np.newaxis]
    save_keypoints_2d(folder / "keypoints-2d" / "trot.h5", replace(seen, xy=xy))
    plain, full = folder / "plain.mp4", folder / "full.mp4"
    options = {"first_frame": 2, "n_frames": 3, "speed": 0.5, "cameras": ["cam_1"]}
    steps.create_labeled_video(folder, "trot", out=plain, **options)
    steps.create_labeled_video(
        folder, "trot", out=full, trail=5, show_likelihood=True, min_likelihood=0.5, **options
    )
    info = probe_video(full)
    assert (info.n_frames, info.fps) == (3, 12.5)
    before, after = (read_frame(path, 2).astype(int) for path in (plain, full))
    changed = np.abs(after - before).sum(axis=-1) > 60
    assert changed[18:34, 6:20].mean() > 0.6  # the bars of two keypoints
    assert changed[60, 65:110].all()  # where the points were, before the first frame shown too
    assert not changed[90:, 100:].any()


def test_labelled_video_of_what_is_not_there_is_refused(analysed):
    folder = analysed[0]
    with pytest.raises(DataError, match="end with frame 5"):
        steps.create_labeled_video(folder, "trot", first_frame=6)
    with pytest.raises(ValueError, match="speed 0"):
        steps.create_labeled_video(folder, "trot", speed=0)


def test_labelled_video_needs_keypoints(project):
    with pytest.raises(FileNotFoundError, match="analyze-recording"):
        steps.create_labeled_video(project[0], "trot")
