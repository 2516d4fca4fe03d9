"""Arrays, boards, detections and recordings say what is wrong with them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.arrays import checked_array, float_array, name_tuple
from calibration.board_images import opencv_board
from calibration.boards import BoardDetections, CharucoBoard, Checkerboard
from calibration.recordings import Recording, match_camera

CHARUCO = {"squares_x": 5, "squares_y": 7, "square_length": 30.0, "marker_length": 22.0}


def test_an_array_that_fits_is_not_copied_and_cannot_be_changed():
    mine = np.zeros((2, 3))
    checked = float_array("mine", mine, ("n", 3))
    assert np.shares_memory(checked, mine)
    assert mine.flags.writeable
    assert not checked.flags.writeable


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        (np.zeros((2, 2)), ("n", 3), r"x has shape \(2, 2\); expected \(n, 3\)\."),
        (np.zeros((2, 3)), ("n", "n"), r"expected \(n, n\)"),
        (np.zeros(3), (..., 2), r"expected \(\.\.\., 2\)"),
        ([1, "a"], (2,), "cannot be read as an array of float64"),
        ([1, np.inf], (2,), r"x holds inf at index \(1,\); NaN is the only missing value"),
    ],
)
def test_an_array_that_does_not_fit_is_told_by_name(value, shape, message):
    with pytest.raises(ValueError, match=message):
        float_array("x", value, shape)


def test_whole_numbers_stay_whole():
    assert checked_array("frames", [1, 2], ("n",), np.int64).dtype == np.int64


@pytest.mark.parametrize("names", ["abc", [], ["a", ""], ["a", 1], ["a", "a"], ["a", "A"]])
def test_names_that_cannot_tell_things_apart_are_refused(names):
    with pytest.raises(ValueError, match="names holds|names is"):
        name_tuple("names", names)


def test_corners_lie_where_opencv_has_them():
    board = CharucoBoard(**CHARUCO)
    theirs = opencv_board(board).getChessboardCorners()
    np.testing.assert_allclose(board.corners, theirs, atol=1e-4)
    assert board.n_corners == 24
    assert Checkerboard(9, 6, 30.0).corners.shape == (40, 3)
    assert isinstance(opencv_board(board), cv2.aruco.CharucoBoard)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"squares_x": 2}, "squares_x is 2; expected a whole number from 3 to 100"),
        ({"squares_y": 7.0}, "squares as printed, not inner corners"),
        ({"square_length": 0}, "square_length is 0; expected a length above 0"),
        ({"marker_length": 31}, "marker_length is 31"),
        ({"dictionary": "DICT_4x4_50"}, "dictionary is 'DICT_4x4_50'; expected one of DICT_4X4_50"),
        ({"squares_x": 20}, "has 50 markers; a board of 20 x 7 squares needs 70"),
        ({"units": "feet"}, "units is 'feet'"),
    ],
)
def test_a_board_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CharucoBoard(**CHARUCO | change)


def detections(**change):
    board = CharucoBoard(**CHARUCO)
    corners = np.zeros((2, 3, board.n_corners, 2))
    corners[1, 2] = np.nan
    fields = {
        "corners": corners,
        "cameras": ("a", "b"),
        "board": board,
        "image_sizes": [[640, 480]] * 2,
        "frames": [0, 10, 20],
    }
    return BoardDetections(**fields | change)


def test_detections_count_what_was_seen():
    seen = detections()
    assert seen.n_seen.tolist() == [[24, 24, 24], [24, 24, 0]]
    assert seen.at([0, 2]).frames.tolist() == [0, 20]


def test_a_corner_with_half_a_place_is_refused():
    corners = detections().corners.copy()
    corners[1, 0, 5, 1] = np.nan
    with pytest.raises(ValueError, match="x without y for camera 'b', moment 0, corner 5"):
        detections(corners=corners)


def test_detections_of_another_board_are_refused():
    with pytest.raises(ValueError, match=r"expected \(2, n_frames, 24, 2\)"):
        detections(corners=np.zeros((2, 3, 9, 2)))


def test_a_recording_knows_its_cameras_and_how_late_they_are():
    take = Recording("trot", {"left": "a/left.mp4", "right": Path("a/right.mp4")})
    assert take.cameras == ("left", "right")
    assert take.videos["left"] == Path("a/left.mp4")
    assert take.offsets.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"offsets has shape \(3,\); expected \(2,\)"):
        Recording("trot", take.videos, [0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("text", "cameras", "found"),
    [
        ("trot_cam_1", ["cam_1", "cam_10"], "cam_1"),
        ("trot_cam_10", ["cam_1", "cam_10"], "cam_10"),
        ("cam_1_cam_2", ["cam_1", "cam_2"], "cam_2"),
        ("topview", ["top"], None),
        ("my top.view", ["top", "view"], "view"),
        ("back_left_2", ["left", "back_left"], "back_left"),
    ],
)
def test_a_camera_is_found_in_a_name_as_people_write_it(text, cameras, found):
    assert match_camera(text, cameras) == found
