import numpy as np
import pytest

from calibration.video import VideoWriter, write_image
from pose3d.mosaic import BLANK, frames_of_videos, match_frames, paint_together, plan_mosaic


@pytest.mark.parametrize("n_views", [1, 2, 3, 4, 6, 7, 12, 32])
def test_views_do_not_overlap_and_are_as_large_as_the_pixels_allow(n_views):
    mosaic = plan_mosaic([(640, 480)] * n_views, max_pixels=1e6)
    taken = np.zeros((mosaic.height, mosaic.width), int)
    for tile in mosaic.tiles:
        taken[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] += 1
    assert taken.max() == 1
    assert mosaic.width % 2 == mosaic.height % 2 == 0
    assert all(side % 2 == 0 for t in mosaic.tiles for side in (t.x, t.y, t.width, t.height))
    assert mosaic.width * mosaic.height < 1.05e6
    assert n_views > 2 or mosaic.tiles[0].width == 640


def test_grid_follows_the_shape_of_views_and_place():
    def columns(size, n_views, aspect):
        mosaic = plan_mosaic([size] * n_views, aspect=aspect)
        return len({tile.x for tile in mosaic.tiles})

    assert columns((640, 480), 4, 4 / 3) == 2
    assert columns((480, 640), 3, 4 / 3) == 3
    assert columns((1920, 400), 3, 4 / 3) == 1
    assert columns((640, 480), 6, 2.0) == 3


def test_views_of_different_shapes_keep_their_proportions():
    sizes = [(1280, 1024), (480, 640), (2000, 300)]
    for tile in plan_mosaic(sizes).tiles:
        wanted = tile.image_size[0] / tile.image_size[1]
        assert tile.width / tile.height == pytest.approx(wanted, rel=0.03)


def test_a_mosaic_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one view"):
        plan_mosaic([])


def test_pictures_are_put_where_the_tiles_say(tmp_path):
    mosaic = plan_mosaic([(40, 30)] * 3)
    for name, size, grey in (("same", (30, 40), 10), ("large", (60, 80), 200)):
        write_image(tmp_path / name / "0.png", np.full((*size, 3), grey, np.uint8))
    videos = [tmp_path / "same", None, tmp_path / "large"]
    [(picture, there)] = paint_together(mosaic, videos, [[0], [0], [0]])
    assert there == [True, False, True]
    for view, brightness in enumerate((25, BLANK, 188)):  # 16 to 235
        part = mosaic.part(picture, view)
        assert (part.y == brightness).all()
        assert (part.u == 128).all()
        assert (part.v == 128).all()
    assert (picture.y[mosaic.tiles[2].y :, mosaic.tiles[1].x :] == 16).all()  # no view


def test_pixels_move_with_the_picture_they_are_in():
    tile = plan_mosaic([(80, 60)] * 4, max_pixels=80 * 60).tiles[3]
    assert (tile.width, tile.height) == (40, 30)
    # the middle of the picture stays the middle; edges stay edges
    np.testing.assert_allclose(tile.place([39.5, 29.5]), [19.5, 14.5])
    np.testing.assert_allclose(tile.place([-0.5, 59.5]), [-0.5, 29.5])


def test_frames_are_matched_by_time():
    clock = np.array([0.0, 0.04, 0.12, 0.16])  # the frame at 0.08 s was lost
    times = np.arange(6) * 0.04
    np.testing.assert_array_equal(match_frames(clock, times), [0, 1, -1, 2, 3, -1])
    np.testing.assert_array_equal(match_frames(clock[:1], times), [0, -1, -1, -1, -1, -1])


@pytest.fixture
def two_videos(tmp_path):
    """Frame i of both has the grey level 20 + 5 i."""
    videos = {"early": tmp_path / "early.mp4", "late": tmp_path / "late.mp4"}
    for path, n_frames in zip(videos.values(), (20, 24), strict=True):
        with VideoWriter(path, 25, crf=0) as video:
            for i in range(n_frames):
                video.write(np.full((32, 32, 3), 20 + 5 * i, np.uint8))
    return videos


def test_a_late_camera_is_read_ahead(two_videos):
    times, places = frames_of_videos(two_videos, {"late": 0.12}, np.arange(20) / 25)
    assert len(times) == 20
    np.testing.assert_array_equal(places["early"], np.arange(20))
    np.testing.assert_array_equal(places["late"], np.arange(20) + 3)
    wanted = [places[name][5:8] for name in two_videos]
    for i, (early, late) in enumerate(levels(two_videos.values(), wanted), 5):
        assert abs(early - (20 + 5 * i)) < 2
        assert abs(late - (20 + 5 * (i + 3))) < 2


def levels(videos, frames, draw=None):
    """The grey level of each view at each moment; None where the video has no frame."""
    mosaic = plan_mosaic([(32, 32)] * len(frames))
    for picture, there in paint_together(mosaic, list(videos), frames, draw):
        brightness = [mosaic.part(picture, view).y.mean() for view in range(len(frames))]
        yield [
            round((level - 16) * 255 / 219) if known else None
            for level, known in zip(brightness, there, strict=True)
        ]


def test_each_moment_is_drawn_on_by_its_own_reader(two_videos):
    def draw(view, moment, part):
        part.y[:] = 16 + 100 * view + moment

    wanted = [range(10), range(10)]
    drawn = list(levels(two_videos.values(), wanted, draw))
    expected = [[round((100 * v + i) * 255 / 219) for v in (0, 1)] for i in range(10)]
    assert drawn == expected


def test_what_goes_wrong_while_drawing_is_heard(two_videos):
    def draw(view, moment, part):
        raise ValueError("no ink")

    with pytest.raises(ValueError, match="no ink"):
        next(levels(two_videos.values(), [range(10), range(10)], draw))


def test_tracks_with_times_of_their_own_are_matched_by_number(two_videos):
    times = np.arange(24) / 30.0  # made up: the videos have 25 frames a second
    _, places = frames_of_videos(two_videos, {}, times)
    np.testing.assert_array_equal(places["late"], np.arange(24))
    np.testing.assert_array_equal(places["early"], [*range(20), -1, -1, -1, -1])


def test_without_keypoints_the_longest_video_counts(two_videos):
    times, places = frames_of_videos(two_videos, {}, None)
    assert len(times) == 24
    assert (places["early"][20:] == -1).all()


def test_missing_videos_and_frames_leave_gaps(two_videos):
    shown = list(levels([two_videos["early"], None], [[-1, 3, 4], [0, 1, 2]]))
    assert shown[0] == [None, None]
    assert shown[1] == [pytest.approx(35, abs=2), None]
