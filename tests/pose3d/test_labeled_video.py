"""What is laid over the views of a labelled video."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from calibration.errors import DataError
from calibration.planes import Planes, to_planes, to_ycc
from calibration.video import VideoWriter, read_frame
from pose3d.keypoints import Keypoints2D
from pose3d.labeled_video import LikelihoodPanel, Stamp, name_stamp, write_labeled_video
from pose3d.overlays import keypoint_colors, rgb
from pose3d.skeleton import Skeleton

NAMES = ("nose", "tail", "ear")
COLORS = keypoint_colors(NAMES)


def grey(width, height, level=120):
    return to_planes(np.full((height, width, 3), level, np.uint8))


def test_a_stamp_covers_as_much_as_it_says():
    image = np.full((8, 12, 3), (200, 40, 90), np.uint8)
    alpha = np.repeat(np.repeat([[0, 0.5, 1]], 8, axis=0), 4, axis=1)
    picture = grey(20, 20)
    before = [part.astype(float) for part in picture]
    Stamp(image, alpha).on(picture, 4, 6)
    for part, old, color, step in zip(picture, before, to_ycc((200, 40, 90)), (1, 2, 2),
                                      strict=True):  # fmt: skip
        row = part[8 // step, 4 // step : 16 // step : 4 // step]
        under = old[0, 0]
        np.testing.assert_allclose(row, [under, (under + color) / 2, color], atol=1.5)
        assert part[0, 0] == under


@pytest.mark.parametrize("size", [(640, 480), (1280, 1024), (64, 48), (8, 6)])
def test_names_and_panels_fit_views_of_any_size(size):
    picture = grey(*size)
    name = name_stamp("camera with a long name", size)
    name.on(picture, 0, 0)
    panel = LikelihoodPanel(NAMES * 20, COLORS * 20, size, 0.6, top=name.shape[0])
    panel.draw(picture, np.ones((1, 60)))
    assert size[0] < 60 or picture.y.max() > 200
    assert size[0] < 600 or not np.ptp(picture.y[:, size[0] * 3 // 4 :])


def test_bars_are_as_long_as_keypoints_are_likely_and_dull_below_the_cutoff():
    picture = Planes.blank(640, 480)
    panel = LikelihoodPanel(NAMES, COLORS, (640, 480), 0.6)
    panel.draw(picture, np.array([[1.0, 0.5, np.nan], [1.0, 0.5, np.nan]]))
    rows = [panel._row // 2 + i * panel._row for i in range(3)]
    bright, dull = to_ycc(rgb(COLORS[0])), to_ycc(rgb(COLORS[1]))
    full = picture.y[rows[0]] == bright[0]
    assert full.sum() == panel._bar - 1  # the line of the cutoff crosses it
    assert not (picture.y[rows[1]] == dull[0]).any()
    half = (picture.v != 128)[rows[1] // 2]
    assert abs(half.sum() - panel._bar / 4) <= 1
    assert not (picture.v != 128)[rows[2] // 2].any()


def test_keypoints_lie_right_on_a_smaller_copy_and_not_at_all_on_a_part(tmp_path):
    video = tmp_path / "small.mp4"
    with VideoWriter(video, 30) as writer:
        for _ in range(2):
            writer.write(np.full((120, 160, 3), 60, np.uint8))
    xy = np.full((1, 2, 1, 1, 2), [256.0, 60.0])
    seen = Keypoints2D(xy, np.ones(xy.shape[:-1]), ("top",), ("animal",), ("nose",), [0, 1 / 30],
                       image_sizes=[[320, 240]])  # fmt: skip
    out = tmp_path / "out.mp4"
    mosaic = write_labeled_video(out, {"top": video}, {}, seen, Skeleton(("nose",)))
    frame = read_frame(out, 0).astype(int)
    colour = np.abs(frame - rgb(keypoint_colors(("nose",))[0])).sum(axis=2)
    rows, columns = np.nonzero(colour < 60)
    factor = mosaic.tiles[0].width / 320
    assert columns.mean() == pytest.approx(256 * factor, abs=3)
    assert rows.mean() == pytest.approx(60 * factor, abs=3)
    part = replace(seen, image_sizes=np.array([[320, 180]]))
    with pytest.raises(DataError, match="160x120 .* pictures of 320x180.* Run analyze-recording"):
        write_labeled_video(out, {"top": video}, {}, part, Skeleton(("nose",)))


def test_a_film_that_is_stopped_leaves_no_file_and_no_thread(tmp_path):
    video = tmp_path / "video.mp4"
    with VideoWriter(video, 30) as writer:
        for _ in range(9):
            writer.write(np.full((48, 64, 3), 60, np.uint8))
    xy = np.full((1, 9, 1, 1, 2), 20.0)
    seen = Keypoints2D(xy, np.ones(xy.shape[:-1]), ("top",), ("animal",), ("nose",),
                       np.arange(9) / 30)  # fmt: skip
    before = set(threading.enumerate())

    def stop(pictures, total):
        yield next(pictures)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        write_labeled_video(
            tmp_path / "out.mp4", {"top": video}, {}, seen, Skeleton(("nose",)), progress=stop
        )
    assert set(threading.enumerate()) <= before, kept
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
