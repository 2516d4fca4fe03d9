"""The labelling page and the videos: what is around a frame, moments chosen by hand, flow."""

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.video import VideoWriter, read_frame, read_frames, read_image
from pose3d.labeling.content import RecordingContent
from pose3d.labeling.flow import carried_points, follow_points
from pose3d.labeling.session import LabelSession
from pose3d.project import Project

CONFIG = """\
Task: reaching
scorer: Ada
bodyparts: [nose, tail]
pose3d:
  cameras: [left, right]
  recordings: {trot: {left: left.mp4, right: right.mp4}}
"""
N_FRAMES, SIZE = 30, (160, 120)


def texture(shift, rng_seed=0):
    """A blurred pattern, moved by (x, y) px; its inside moves, nothing else."""
    rng = np.random.default_rng(rng_seed)
    import cv2

    big = cv2.GaussianBlur(rng.uniform(0, 255, (220, 260)).astype(np.float32), (0, 0), 2.5)
    big = (big - big.min()) / np.ptp(big) * 255
    moved = cv2.warpAffine(
        big, np.float32([[1, 0, -40 + shift[0]], [0, 1, -40 + shift[1]]]), SIZE,
        flags=cv2.INTER_LINEAR,
    )  # fmt: skip
    return np.repeat(moved.astype(np.uint8)[..., np.newaxis], 3, axis=2)


@pytest.fixture(scope="module")
def videos_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for camera, (dx, dy) in {"left": (1.0, 0.4), "right": (-0.8, 0.5)}.items():
        with VideoWriter(folder / f"{camera}.mp4", 25) as writer:
            for frame in range(N_FRAMES):
                writer.write(texture((dx * frame, dy * frame)))
    return folder


@pytest.fixture
def content(tmp_path, videos_folder):
    (tmp_path / "config.yaml").write_text(CONFIG)
    for camera in ("left", "right"):
        (tmp_path / f"{camera}.mp4").symlink_to(videos_folder / f"{camera}.mp4")
    content = RecordingContent(LabelSession(Project.load(tmp_path), "trot"))
    yield content
    content.session.close()


def label(session, camera, image, keypoint, xy, state="clicked"):
    where = {"camera": camera, "image": image, "individual": "animal", "keypoint": keypoint}
    session.change([{**where, "before": None, "after": {"state": state, "xy": xy}}])


def test_a_recording_of_videos_alone_opens_and_moments_are_added_to_all_cameras(content):
    session = content.session
    assert session.moments == []
    about = content.videos.about()
    assert about["n_frames"] == N_FRAMES
    assert about["fps"] == pytest.approx(25, rel=1e-3)
    assert len(content.videos.add_moment(7)) == 2
    assert session.moments == [("7", {"left": "img00007.png", "right": "img00007.png"})]
    image = session.project.path / "labeled-data" / "trot_left" / "img00007.png"
    np.testing.assert_array_equal(
        read_image(image), read_frame(session.project.path / "left.mp4", 7)
    )
    assert content.videos.add_moment(7) == []  # never twice
    with pytest.raises(DataError, match="has frame 30"):
        content.videos.add_moment(N_FRAMES)


def test_frames_around_a_moment_are_those_of_the_video(content):
    import cv2

    picture = content.videos.picture("left", 4, around=2)
    shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE).astype(float)
    there = read_frame(content.session.project.path / "left.mp4", 4, pixels="luma")
    assert np.abs(shown - there).mean() < 3
    assert content.videos.picture("left", 4) is picture
    with pytest.raises(FileNotFoundError, match="no frame 99"):
        content.videos.picture("left", 99)
    with pytest.raises(DataError, match="no video of 'top'"):
        content.videos.picture("top", 0)


@pytest.mark.parametrize("direction", ["before", "after"])
def test_flow_carries_labels_through_the_video_from_both_sides(content, direction):
    session = content.session
    content.videos.add_moment(5)
    content.videos.add_moment(20)
    start, end = (5, 20) if direction == "before" else (20, 5)
    image = f"img{start:05d}.png"
    label(session, "left", image, "nose", [60.0, 50.0])
    label(session, "right", image, "tail", [80.0, 70.0])
    label(session, "right", image, "nose", [30.0, 30.0], state="occluded")
    told = carried_points(content.videos, str(end), direction)
    assert told["from"] == {"left": str(start), "right": str(start)}
    by = end - start
    for camera, keypoint, expected in (
        ("left", 0, [60 + by, 50 + 0.4 * by]),
        ("right", 1, [80 - 0.8 * by, 70 + 0.5 * by]),
    ):
        ((i, k, x, y, error),) = told["points"][camera]
        assert (i, k) == (0, keypoint)
        assert np.hypot(x - expected[0], y - expected[1]) < 0.5
        assert error < 1
    with pytest.raises(DataError, match="No frame"):
        carried_points(content.videos, str(start), direction)


def test_what_leaves_the_image_or_is_hidden_on_the_way_is_not_offered():
    images = [texture((2.0 * f, 0))[..., 0] for f in range(20)]
    blank = [image.copy() for image in images]
    blank[10][:] = 128
    points = np.array([[30.0, 50.0], [140.0, 60.0]])
    xy, _ = follow_points(images, points)
    np.testing.assert_allclose(xy[0], [68, 50], atol=0.5)
    assert np.isnan(xy[1]).all()
    assert np.isnan(follow_points(blank, points)[0]).all()


def test_flow_on_a_real_mouse_is_nearer_to_its_tracks_than_copying(data_folder):
    import h5py

    folder = data_folder / "sleap_anipose_minimal_session" / "mid"
    with h5py.File(folder / "minimal_mid_proofread.analysis.h5") as file:
        tracks = file["tracks"][0].transpose(2, 1, 0)  # frame, node, xy
    video = folder / "minimal_mid.mp4"
    images = [f.image for f in read_frames(video, frames=range(61), pixels="luma")]
    there = np.isfinite(tracks[[0, 60]]).all(axis=(0, 2))
    xy, _ = follow_points(images, tracks[0][there])
    off = np.linalg.norm(xy - tracks[60][there], axis=1)
    copied = np.linalg.norm(tracks[0][there] - tracks[60][there], axis=1)
    assert np.isfinite(off).all()
    assert np.median(off) < 0.7 * np.median(copied)
