"""World frames: what is asked for comes out, and nothing that cameras see changes."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.cameras import Camera, CameraRig
from calibration.errors import CalibrationError
from calibration.floors import (
    check_floor,
    share_below_floor,
    world_from_cameras,
    world_from_floor,
)
from calibration.multiview import move_rig
from calibration.rotations import rotation_matrices, rotation_vectors
from calibration.selfcalibration import scale_rig
from calibration.solve import board_residuals, calibrate
from calibration.synthetic import moving_board, ring_rig, simulate_detections
from calibration.world import (
    WorldFrame,
    board_corners,
    in_world,
    scaled_world,
    world_from_axes,
    world_from_board,
    world_from_points,
)

BOARD = CharucoBoard(8, 11, 24.0, 18.0, "DICT_4X4_250")
FLOOR = -200.0


@pytest.fixture(scope="module")
def filmed():
    """A calibration whose board lies on the floor, face up, at frames 0 and 7; and the truth."""
    rng = np.random.default_rng(5)
    rig = ring_rig(4, rng=rng)
    poses = moving_board(BOARD, 24, rng=rng)
    for k, (x, y, turn) in {0: (-80.0, 30.0, 0.4), 7: (40.0, -150.0, 2.0)}.items():
        poses[k] = np.eye(4)
        poses[k, :3, :3] = rotation_matrices([0, 0, turn]) @ np.diag([1.0, -1.0, -1.0])
        poses[k, :3, 3] = [x, y, FLOOR]
    seen = simulate_detections(rig, BOARD, poses, noise_px=0.3, rng=rng)
    return calibrate(seen, hold_out=False), rig, poses


def tilt(rig, truth):
    """Angle in degrees between the z axes of two worlds, as a camera sees them."""
    cosines = [a.rotation[:, 2] @ truth[a.name].rotation[:, 2] for a in rig]
    return np.degrees(np.arccos(np.clip(cosines, -1, 1))).max()


def test_turning_the_world_moves_no_corner_in_any_picture(filmed):
    calibration, _, _ = filmed
    worlds = [
        world_from_board(calibration, 7),
        world_from_cameras(calibration.rig),
        world_from_floor(calibration.rig, board_corners(calibration, [0, 7])),
        scaled_world(calibration.rig, "cam_0", "cam_2", 7.0),
    ]
    for frame in worlds:
        moved = in_world(calibration, frame)
        again = board_residuals(moved.rig, moved.detections, moved.board_poses)
        before = board_residuals(calibration.rig, calibration.detections, calibration.board_poses)
        np.testing.assert_allclose(again, before, atol=1e-9)
        assert moved.rig.world == frame.name


def test_a_board_on_the_floor_makes_z_up_and_zero_on_it(filmed):
    calibration, truth, poses = filmed
    frame = world_from_board(calibration, 0)
    moved = in_world(calibration, frame)
    # a lens's principal point and its camera's direction trade off, so cameras see z less well
    assert tilt(moved.rig, truth) < 1.0
    # the other board on the floor lies on it
    heights = board_corners(moved, [7])[..., 2]
    assert np.abs(heights).max() < 4 * 200 * np.radians(frame.tilt_error) < 1.0
    for camera in moved.rig:
        height = truth[camera.name].position[2] - FLOOR
        assert camera.position[2] == pytest.approx(height, abs=3.0)
    # the board itself lies at the origin, x along its rows
    np.testing.assert_allclose(moved.board_poses[0], np.diag([1, -1, -1, 1.0]), atol=1e-9)
    assert "board at frame 0" in frame.note


def test_a_moment_without_a_board_is_refused_with_those_that_have_one(filmed):
    calibration, _, _ = filmed
    with pytest.raises(CalibrationError, match="At frame 99 no board was found; .* 22, 23"):
        world_from_board(calibration, 99)


def test_boards_on_the_floor_make_the_floor(filmed):
    calibration, truth, _ = filmed
    frame = world_from_floor(calibration.rig, board_corners(calibration, [0, 7]))
    moved = in_world(calibration.rig, frame)
    assert tilt(moved, truth) < 1.0
    corners = board_corners(in_world(calibration, frame), [0, 7])
    assert np.abs(corners[..., 2]).max() < 0.5
    heights = [camera.position[2] - truth[camera.name].position[2] for camera in moved]
    np.testing.assert_allclose(heights, -FLOOR, atol=6.0)  # mm, cameras 1000 mm away


def test_a_floor_is_found_among_points_that_are_not_on_it(rng):
    rig = ring_rig(4, rng=rng)
    floor = np.column_stack([rng.uniform(-300, 300, size=(60, 2)), rng.normal(FLOOR, 2.0, 60)])
    above = rng.uniform([-300, -300, FLOOR], [300, 300, 200], size=(40, 3))
    turn = np.eye(4)
    turn[:3, :3] = rotation_matrices([0.7, -2.0, 0.3])
    turn[:3, 3] = [10, 20, 30]
    points = np.concatenate([floor, above]) @ turn[:3, :3].T + turn[:3, 3]
    hidden = move_rig(rig, turn)
    frame = world_from_floor(hidden, points)
    assert tilt(in_world(hidden, frame), rig) < 5 * frame.tilt_error < 2.0
    with pytest.raises(CalibrationError, match="The 200 points lie in no plane"):
        world_from_floor(hidden, rng.uniform(-300, 300, size=(200, 3)))
    with pytest.raises(CalibrationError, match="on one line: the world can turn"):
        world_from_floor(hidden, np.outer(np.arange(9.0), [1.0, 2.0, 3.0]))


def leaning(rig, rng, degrees):
    """The same cameras, each rolled about its own axis at random."""
    cameras = []
    for camera in rig:
        roll = rotation_matrices([0, 0, np.radians(rng.normal(scale=degrees))])
        rvec = rotation_vectors(roll @ camera.rotation)
        cameras.append(Camera(camera.name, camera.intrinsics, rvec, roll @ camera.tvec))
    return CameraRig(tuple(cameras))


def test_upright_cameras_tell_which_way_is_up_and_how_well(rng):
    rig = ring_rig(6)
    turn = np.eye(4)
    turn[:3, :3] = rotation_matrices([2.0, 1.0, -0.5])
    exact = world_from_cameras(move_rig(rig, turn))
    assert tilt(in_world(move_rig(rig, turn), exact), rig) < 1e-5
    errors, said = [], []
    for _ in range(30):
        seen = leaning(rig, rng, 2.0)
        frame = world_from_cameras(move_rig(seen, turn))
        errors.append(tilt(in_world(move_rig(seen, turn), frame), seen))
        said.append(frame.tilt_error)
    assert max(errors) < 6.0
    assert frame.note.startswith("A guess: up is square to the rows of pixels")
    assert 0.6 < np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(said))) < 1.5


def test_cameras_that_disagree_on_up_are_refused(rng):
    rig = ring_rig(4)
    half_turn = np.diag([-1.0, -1.0, 1.0])
    cameras = [
        Camera(c.name, c.intrinsics, rotation_vectors(half_turn @ c.rotation), half_turn @ c.tvec)
        if k % 2
        else c
        for k, c in enumerate(rig)
    ]
    with pytest.raises(CalibrationError, match="do not agree on which way is up"):
        world_from_cameras(CameraRig(tuple(cameras)))


def test_known_points_make_the_world_they_are_known_in(rng):
    known = rng.uniform(-100, 100, size=(6, 3))
    turn = rotation_matrices([0.3, 1.0, -2.0])
    found = (known - [5, 6, 7]) @ turn
    names = list("abcdef")
    frame = world_from_points(found, known, names, units="mm")
    np.testing.assert_allclose(frame.motion[:3, :3], turn, atol=1e-9)
    np.testing.assert_allclose(frame.motion[:3, 3], [5, 6, 7], atol=1e-9)
    scaled = world_from_points(2 * found, known, names, scale=True)
    assert np.cbrt(np.linalg.det(scaled.motion[:3, :3])) == pytest.approx(0.5)
    with pytest.raises(CalibrationError, match="2 points are both known and found"):
        world_from_points(found[:2], known[:2], names[:2])
    axes = world_from_axes(found[0], found[1], found[2])
    moved = found @ axes.motion[:3, :3].T + axes.motion[:3, 3]
    np.testing.assert_allclose(moved[0], 0, atol=1e-9)
    np.testing.assert_allclose(moved[1, 1:], 0, atol=1e-9)
    assert moved[1, 0] > 0
    assert moved[2, 2] == pytest.approx(0, abs=1e-9)
    assert moved[2, 1] > 0


def test_a_known_distance_scales_cameras_boards_and_errors_alike(filmed):
    calibration, _, _ = filmed
    rig = calibration.rig
    apart = np.linalg.norm(rig["cam_0"].position - rig["cam_3"].position)
    moved = in_world(calibration, scaled_world(rig, "cam_0", "cam_3", 2 * apart))
    assert moved.detections.board.square_length == pytest.approx(48.0)
    for name in ("position",):
        np.testing.assert_allclose(
            moved.standard_errors[name], 2 * calibration.standard_errors[name], rtol=1e-6
        )
    np.testing.assert_allclose(
        moved.standard_errors["rotation"], calibration.standard_errors["rotation"]
    )
    note = scaled_world(rig, "cam_0", "cam_3", 2 * apart).note
    assert "scaled by 2. That is much" in note
    with pytest.raises(ValueError, match="There is no 'cam_9'; known are cam_0"):
        scaled_world(rig, "cam_0", "cam_9", 1.0)


def test_the_covariance_turns_with_the_world(rng):
    rig = ring_rig(3, rng=rng)
    side = sum(camera.n_parameters for camera in rig)
    root = rng.normal(scale=1e-3, size=(side, side))
    rig = replace(rig, covariance=root @ root.T)
    turn = np.eye(4)
    turn[:3, :3] = 3 * rotation_matrices([0.3, 1.0, -2.0])
    turn[:3, 3] = [50, 60, 70]
    moved = in_world(rig, WorldFrame(turn, "test", ""))
    # the spread of a projected point does not hang on the world
    point = np.array([10.0, -20.0, 30.0])
    there = turn[:3, :3] @ point + turn[:3, 3]
    for name in rig.names:
        spreads = []
        for one, place in ((rig, point), (moved, there)):
            start, _ = one.parameter_range(name)
            camera = one[name]
            slopes = []
            for k in range(6):
                step = np.zeros(6)
                step[k] = 1e-6
                rotation = rotation_matrices(step[:3]) @ camera.rotation
                other = Camera(
                    name, camera.intrinsics, rotation_vectors(rotation), camera.tvec + step[3:]
                )
                slopes.append((other.project(place) - camera.project(place)) / 1e-6)
            slopes = np.array(slopes).T
            spreads.append(slopes @ one.covariance[start : start + 6, start : start + 6] @ slopes.T)
        np.testing.assert_allclose(spreads[0], spreads[1], rtol=1e-3)
    assert scale_rig(moved, 2.0, 0.01).world == "test"


def test_an_animal_under_the_floor_is_told(rng):
    points = rng.normal(size=(50, 2, 8, 3)) + [0, 0, 3.0]
    assert share_below_floor(points) < 0.01
    assert check_floor(points) == ""
    assert check_floor(-points).startswith("100 % of the points lie under the floor")
    assert np.isnan(share_below_floor(np.full((2, 3), np.nan)))
