"""Boards are rendered through known cameras, so that every corner's true place is known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.board_images import board_image
from calibration.boards import CharucoBoard, Checkerboard
from calibration.cameras import Camera, Intrinsics
from calibration.corners import drop_strays, local_grid, refine_corners
from calibration.detection import detect_board, half_turn
from calibration.errors import CalibrationError
from calibration.recognition import describe, recognise_board
from calibration.video import image_files, read_frames, read_image

CHARUCO = CharucoBoard(7, 5, 40.0, 30.0, "DICT_4X4_50")
CHECKER = Checkerboard(8, 5, 40.0)


@pytest.fixture(scope="module")
def lens():
    matrix = [[620.0, 0, 325], [0, 622.0, 236], [0, 0, 1]]
    return Intrinsics(matrix, [-0.2, 0.05, 0.001, -0.001, 0], (640, 480))


def held(board, rvec, z=520.0, shift=(0.0, 0.0)):
    """A board in front of the camera: rotation vector, distance and shift in mm."""
    rotation = cv2.Rodrigues(np.array(rvec, dtype=np.float64))[0]
    middle = np.array([board.squares_x, board.squares_y, 0]) * board.square_length / 2
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = np.array([*shift, z]) - rotation @ middle
    return pose


def seen(board, lens, pose, rng=None, fine=3):
    """A picture of a board and its true corners: 3 x 3 rays a pixel, blur, noise."""
    per_square = 96
    texture = board_image(board, per_square).astype(np.float32) * 0.75 + 25
    pad = per_square // 2
    ground = 25.0 if getattr(board, "inverted", False) else 215.0
    texture = cv2.copyMakeBorder(texture, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=ground)
    width, height = lens.image_size
    y, x = np.mgrid[:height, :width]
    rays = lens.undistort(np.stack([x, y], axis=-1).astype(np.float64))
    rays = cv2.resize(rays, (width * fine, height * fine))  # bends too little to matter
    rays = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)
    on_board = rays @ np.linalg.inv(pose[:3][:, [0, 1, 3]]).T
    squares = on_board[..., :2] / on_board[..., 2:] / board.square_length
    at = (squares * per_square - 0.5 + pad).astype(np.float32)
    image = cv2.remap(texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderValue=110)
    image = cv2.GaussianBlur(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
                             (0, 0), 0.7)  # fmt: skip
    if rng is not None:
        image = image + rng.normal(0, 2.5, image.shape)
    camera = Camera("camera", lens, np.zeros(3), np.zeros(3))
    truth = camera.project(board.corners @ pose[:3, :3].T + pose[:3, 3])
    return np.clip(np.round(image), 0, 255).astype(np.uint8), truth


POSES = [(0.0, 0.0, 0.0), (0.5, 0.1, 0.3), (-0.2, 0.6, -0.4), (0.3, -0.5, 2.9)]


def errors(board, lens, rng, **options):
    """Distances from the truth over all poses, and the share of corners found."""
    distances = []
    for rvec in POSES:
        image, truth = seen(board, lens, held(board, rvec), rng)
        distances.append(np.linalg.norm(detect_board(board, image, **options) - truth, axis=1))
    distances = np.concatenate(distances)
    return distances[np.isfinite(distances)], np.isfinite(distances).mean()


@pytest.mark.parametrize(
    "board",
    [
        CHARUCO,
        replace(CHARUCO, squares_x=6, squares_y=6, legacy=True),
        replace(CHARUCO, inverted=True),
        replace(CHARUCO, dictionary="DICT_APRILTAG_36h11", marker_length=26.0),
    ],
)
def test_charuco_corners_lie_within_hundredths_of_a_pixel(board, lens, rng):
    distances, share = errors(board, lens, rng)
    assert share == 1
    assert np.sqrt((distances**2).mean() / 2) < 0.05  # RMS per coordinate; OpenCV has 0.15
    assert distances.max() < 0.3


def test_checkerboard_corners_lie_within_hundredths_of_a_pixel(lens, rng):
    distances, share = errors(CHECKER, lens, rng)
    assert share == 1
    assert np.sqrt((distances**2).mean() / 2) < 0.03
    assert distances.max() < 0.15


def test_checkerboard_corners_come_in_the_order_of_its_colours(lens):
    for turn in (0.0, 1.5, 3.0, -1.6):
        image, truth = seen(CHECKER, lens, held(CHECKER, (0.1, 0.2, turn)))
        np.testing.assert_allclose(detect_board(CHECKER, image), truth, atol=0.3)


def test_a_board_that_looks_the_same_upside_down_comes_in_either_order(lens):
    board = Checkerboard(8, 6, 35.0)
    image, truth = seen(board, lens, held(board, (0.2, 0.1, 3.0)))
    found = detect_board(board, image)
    order = half_turn(board)
    np.testing.assert_array_equal(np.sort(order), np.arange(board.n_corners))
    straight, turned = (np.abs(corners - truth).max() for corners in (found, found[order]))
    assert min(straight, turned) < 0.3 < max(straight, turned)
    assert half_turn(CHECKER) is None
    assert half_turn(CHARUCO) is None


def test_a_board_with_four_equal_sides_and_odd_squares_is_refused(lens):
    board = Checkerboard(7, 7, 30.0)
    with pytest.raises(CalibrationError, match="same after every quarter turn"):
        detect_board(board, np.zeros((480, 640), np.uint8))


def test_a_square_board_with_even_squares_is_told_from_its_quarter_turns(lens):
    board = Checkerboard(6, 6, 35.0)
    for turn in (0.1, 1.6, 3.1, -1.5):
        image, truth = seen(board, lens, held(board, (0.2, 0.1, turn)))
        found = detect_board(board, image)
        off = min(np.abs(c - truth).max() for c in (found, found[half_turn(board)]))
        assert off < 0.3


def test_covered_corners_are_missing_and_the_others_stay(lens, rng):
    image, truth = seen(CHARUCO, lens, held(CHARUCO, (0.3, 0.2, 0.1)), rng)
    image[:, :300] = 90
    found = detect_board(CHARUCO, image)
    visible = truth[:, 0] > 310
    assert np.isnan(found[truth[:, 0] < 300]).all()
    assert np.isfinite(found[visible, 0]).mean() > 0.9
    good = np.isfinite(found[:, 0])
    assert np.linalg.norm(found[good] - truth[good], axis=1).max() < 0.3


@pytest.mark.parametrize("board", [CHARUCO, CHECKER])
def test_pictures_without_a_board_show_none(board, rng):
    noise = rng.integers(0, 256, (480, 640), dtype=np.uint8)
    for image in (noise, cv2.GaussianBlur(noise, (0, 0), 6), np.zeros((480, 640), np.uint8)):
        assert np.isnan(detect_board(board, image)).all()


def test_a_mirrored_board_is_not_taken_for_a_board(lens):
    image, _ = seen(CHARUCO, lens, held(CHARUCO, (0.2, 0.1, 0.0)))
    assert np.isnan(detect_board(CHARUCO, np.ascontiguousarray(image[:, ::-1]))).all()


def test_images_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r'shape \(48, 64, 3\).*pixels="luma"'):
        detect_board(CHARUCO, np.zeros((48, 64, 3), np.uint8))


def test_large_images_are_found_small_and_fitted_whole(rng):
    matrix = [[2300.0, 0, 1205], [0, 2300.0, 590], [0, 0, 1]]
    lens = Intrinsics(matrix, [], (2400, 1200), "pinhole")
    board = replace(CHARUCO, squares_x=5, squares_y=4)
    image, truth = seen(board, lens, held(board, (0.2, 0.3, 0.1)), rng, fine=1)
    found = detect_board(board, image)
    assert np.linalg.norm(found - truth, axis=1).max() < 0.3


def test_refinement_leaves_nothing_where_there_is_no_corner(rng):
    axes = np.tile(np.eye(2) * 30, (3, 1, 1))
    flat = np.full((100, 100), 120, np.uint8)
    edge = flat.copy()
    edge[:, 50:] = 20
    corners = np.array([[30.0, 30], [50, 50], [60, 70]])
    assert np.isnan(refine_corners(flat, corners, axes)[0]).all()
    assert np.isnan(refine_corners(edge, corners[1:2], axes[1:2])[0]).all()


def test_neighbours_predict_a_corner_through_perspective_and_distortion(lens):
    board = Checkerboard(10, 8, 30.0)
    _, truth = seen(board, lens, held(board, (0.4, -0.3, 0.2)))
    grid = board.corners[:, :2] / board.square_length
    predicted, axes = local_grid(grid, truth)
    assert np.abs(predicted - truth).max() < 0.3
    across = truth.reshape(7, 9, 2)
    middle = (across[:, 2:] - across[:, :-2]) / 2
    np.testing.assert_allclose(axes.reshape(7, 9, 2, 2)[:, 1:-1, :, 0], middle, atol=0.5)


def test_a_stray_corner_goes_and_its_neighbours_stay(lens):
    board = Checkerboard(10, 8, 30.0)
    _, truth = seen(board, lens, held(board, (0.4, -0.3, 0.2)))
    strayed = truth.copy()
    strayed[[12, 40]] += (6, -5)
    kept = drop_strays(board.corners[:, :2] / board.square_length, strayed)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(kept[:, 0])), [12, 40])


def pictures(board, lens):
    return [seen(board, lens, held(board, rvec))[0] for rvec in POSES[:2]]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("inverted", [False, True])
def test_layout_and_print_are_recognised(lens, legacy, inverted):
    printed = CharucoBoard(6, 6, 40.0, 30.0, "DICT_4X4_50", legacy=legacy, inverted=inverted)
    asked = replace(printed, legacy=False, inverted=False)
    assert recognise_board(asked, pictures(printed, lens)) == printed


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (replace(CHARUCO, squares_x=5, squares_y=7), "set squares_x = 7, squares_y = 5"),
        (replace(CHARUCO, dictionary="DICT_5X5_50"), "Set dictionary to DICT_4X4_50"),
        (replace(CHARUCO, squares_x=4, squares_y=4), "Count its squares again"),
    ],
)
def test_another_charuco_board_is_named(lens, asked, message):
    with pytest.raises(CalibrationError, match=message):
        recognise_board(asked, pictures(CHARUCO, lens))


def test_mirrored_pictures_are_named(lens):
    mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in pictures(CHARUCO, lens)]
    with pytest.raises(CalibrationError, match="are mirrored"):
        recognise_board(CHARUCO, mirrored)


@pytest.mark.parametrize("asked", [(7, 4), (8, 4), (7, 5), (9, 6)])
def test_a_checkerboard_with_other_counts_is_named(lens, asked):
    with pytest.raises(CalibrationError, match="checkerboard of 8 x 5 squares"):
        recognise_board(Checkerboard(*asked, 40.0), pictures(CHECKER, lens))


def test_a_board_that_nobody_shows_is_returned_as_given():
    empty = [np.full((480, 640), 128, np.uint8)]
    assert recognise_board(CHARUCO, empty) == CHARUCO
    assert recognise_board(CHECKER, empty) == CHECKER


def test_a_board_is_described_as_a_person_would():
    board = replace(CHARUCO, legacy=True, inverted=True)
    assert describe(board) == (
        "ChArUco board of 7 x 5 squares of 40 mm, DICT_4X4_50, layout from before OpenCV 4.6, "
        "white on black"
    )
    assert describe(CHECKER) == "checkerboard of 8 x 5 squares of 40 mm"


def test_every_corner_of_the_real_charuco_pictures_is_found(data_folder):
    board = CharucoBoard(8, 11, 24.0, 18.75, "DICT_4X4_1000")
    session = data_folder / "sleap_anipose_minimal_session"
    for camera in ("back", "side"):
        corners = np.array(
            [
                detect_board(board, read_image(path, pixels="luma"))
                for path in image_files(session / camera / "calibration_images")
            ]
        )
        assert np.isfinite(corners[..., 0]).sum() >= 1465  # of 1470; OpenCV finds 1468 and 1420
        seen = np.isfinite(corners[..., 0])
        rms = cv2.calibrateCamera(
            [board.corners[row].astype(np.float32) for row in seen],
            [view[row].astype(np.float32) for view, row in zip(corners, seen, strict=True)],
            (1280, 1024),
            None,
            None,
        )[0]
        assert rms / np.sqrt(2) < {"back": 0.14, "side": 0.30}[camera]  # OpenCV: 0.145, 0.31


def test_the_real_inverted_board_agrees_with_its_published_corners(data_folder):
    folder = data_folder / "caliscope_4cam_charuco" / "calibration" / "extrinsic"
    asked = CharucoBoard(4, 5, 54.0, 40.5, "DICT_4X4_1000")
    images = {f.index: f.image for f in read_frames(folder / "cam_0.mp4", pixels="luma")}
    board = recognise_board(asked, list(images.values())[::5])
    assert board == replace(asked, inverted=True)
    rows = np.genfromtxt(folder / "xy.csv", delimiter=",", skip_header=1, usecols=(0, 1, 5, 6, 7))
    stamps = np.genfromtxt(folder / "timestamps.csv", delimiter=",", skip_header=1)
    stamps = stamps[stamps[:, 1] == 0]
    distances = []
    for frame, (sync, _, _) in enumerate(stamps[np.argsort(stamps[:, 2])]):
        theirs = rows[(rows[:, 0] == sync) & (rows[:, 1] == 0)]
        found = detect_board(board, images[frame])
        distances.extend(np.linalg.norm(found[theirs[:, 2].astype(int)] - theirs[:, 3:], axis=1))
    distances = np.array(distances)
    assert np.isfinite(distances).mean() > 0.95
    assert np.nanmedian(distances) < 0.3


def test_the_real_checkerboards_are_found(data_folder):
    folder = data_folder / "opencv_stereo"
    board = Checkerboard(10, 7, 30.0)
    for path in image_files(folder):
        assert np.isfinite(detect_board(board, read_image(path, pixels="luma"))).all(), path.name
