"""Moments are chosen evenly or for their difference, and their pictures written once."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.video import VideoWriter, read_image
from pose3d import sampling, steps
from pose3d.project import Project
from pose3d.steps.frame_pictures import pictured, small_pictures
from pose3d.steps.moments import recording_moments

CAMERAS = ("left", "top")


def scene(moment):
    """A picture that stands still but for three short events."""
    image = np.full((48, 64, 3), 60, np.uint8)
    for event, place in ((30, 4), (60, 24), (90, 44)):
        if event <= moment < event + 4:
            image[10:38, place : place + 14] = 230
    return image


@pytest.fixture
def project(tmp_path):
    steps.create_project(
        tmp_path / "p", cameras=list(CAMERAS), keypoints=["nose", "tail"], scorer="Ada"
    )
    videos = []
    for camera in CAMERAS:
        path = tmp_path / f"{camera}.mp4"
        with VideoWriter(path, 30) as writer:
            for i in range(120):
                writer.write(scene(i))
        videos.append(f"{camera}={path}")
    steps.add_recording(tmp_path / "p", "take", videos)
    return tmp_path / "p"


def images(project, camera):
    folder = project / "labeled-data" / f"take_{camera}"
    return sorted(int(path.stem[3:]) for path in folder.glob("img*.png"))


def test_kmeans_finds_what_is_rare_and_the_same_in_all_cameras(project):
    outcome = steps.extract_frames(project, count=4)
    chosen = images(project, "left")
    assert len(chosen) == 4
    assert images(project, "top") == chosen
    for event in (30, 60, 90):
        assert [m for m in chosen if event <= m < event + 4]
    row = outcome.table[0]
    assert row["difference_left"] < 0.5 * row["by_chance"]
    picture = read_image(project / "labeled-data" / "take_top" / f"img{chosen[1]:05d}.png")
    assert np.abs(picture.astype(int) - scene(chosen[1])).max() < 20


def test_moments_without_one_camera_are_not_taken_for_different_ones(project):
    take = Project.load(project).recording("take")
    moments = recording_moments(take)
    frames = moments.frames | {"top": np.where(np.arange(120) < 100, moments.frames["top"], -1)}
    moments = replace(moments, frames=frames)
    looked = np.arange(0, 120, 2)
    read, pictures = small_pictures(take, moments, looked)
    assert read.tolist() == looked.tolist()
    difference = np.linalg.norm(pictures, axis=1)
    # in the last twenty nothing happens
    assert difference[50:].max() < np.quantile(difference[:50], 0.5) + 1e-3
    assert difference.max() > 10 * difference[50:].max()


def test_no_moment_is_chosen_twice(project):
    steps.extract_frames(project, count=5, method="uniform")
    first = images(project, "left")
    assert first == [0, 30, 59, 89, 119]
    steps.extract_frames(project, count=5, method="uniform")
    steps.extract_frames(project, count=5, seed=1)
    assert len(images(project, "left")) == 15
    again = steps.extract_frames(project, frames="0,30")
    assert again.figures["chosen"] == 0
    assert "not there already" in again.failed
    loaded = Project.load(project)
    take = loaded.recording("take")
    assert pictured(loaded, take, recording_moments(take)) == set(images(project, "top"))


def test_recordings_that_came_in_as_pictures_are_passed_over(project):
    config = project / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("    take:", "    pictures: {}\n    take:"), encoding="utf-8")
    assert [row["recording"] for row in steps.extract_frames(project, count=2).table] == ["take"]
    with pytest.raises(DataError, match="'pictures' has no videos"):
        steps.extract_frames(project, "pictures")


def test_moments_can_be_named_by_number_and_time(project):
    steps.extract_frames(project, "take", frames="3,100-101")
    steps.extract_frames(project, "take", times=[1.0, 1.01, 2.52])
    assert images(project, "top") == [3, 30, 76, 100, 101]
    with pytest.raises(DataError, match="goes from 0.00 to 3.97 s; 9 s is outside"):
        steps.extract_frames(project, times=[9.0])
    with pytest.raises(DataError, match="has 120 frames, 0 to 119"):
        steps.extract_frames(project, frames="200-300")


def test_chosen_moments_are_apart():
    chosen = sampling.choose_evenly(100, 8, taken=[50], apart=10)
    assert np.diff(np.sort([*chosen, 50])).min() >= 10
    features = np.random.default_rng(0).normal(size=(100, 4))
    chosen = sampling.choose_diverse(features, np.arange(100), 6, taken=[50], apart=10)
    assert len(chosen) == 6
    assert np.diff(np.sort([*chosen, 50])).min() >= 10
    assert len(sampling.choose_evenly(5, 20)) == 5
