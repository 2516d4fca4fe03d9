from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.errors import CalibrationError
from calibration.poses import (
    bends,
    homographies,
    posable_views,
    pose_errors,
    view_poses,
    without_false_views,
)
from calibration.rotations import rotation_vectors
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(8, 11, 24.0, 18.0, "DICT_4X4_250")


def one_camera(rng, n_frames=60, tilt=60.0, **settings):
    """A pinhole camera, its true poses of the boards it saw, and their corners."""
    rig = ring_rig(1, model="pinhole", rng=rng)
    poses = moving_board(BOARD, n_frames, tilt=tilt, rng=rng)
    seen = simulate_detections(rig, BOARD, poses, rng=rng, **settings)
    use = posable_views(seen)[0]
    camera = rig.cameras[0]
    return camera, camera.camera_from_world @ poses[use], seen.at(use)


def angles(poses, truth):
    """Degrees between rotations."""
    turn = poses[..., :3, :3] @ np.swapaxes(truth[..., :3, :3], -1, -2)
    return np.degrees(np.linalg.norm(rotation_vectors(turn), axis=-1))


def test_poses_of_exact_corners_are_exact_and_come_first(rng):
    camera, truth, seen = one_camera(rng, covered=0.5)
    normalised = camera.intrinsics.undistort(seen.corners[0])
    poses, errors = view_poses(BOARD.corners, normalised)
    np.testing.assert_allclose(poses[:, 0], truth, atol=1e-6)
    assert (errors[:, 0] < 1e-9).all()
    assert (errors[:, 0] < errors[:, 1]).all()


@pytest.mark.parametrize("outliers", [0.0, 0.05, 0.2])
def test_wild_corners_do_not_move_a_pose(outliers, rng):
    camera, truth, seen = one_camera(rng, noise_px=0.3, outliers=outliers)
    poses, _ = view_poses(BOARD.corners, camera.intrinsics.undistort(seen.corners[0]))
    off = angles(poses[:, 0], truth)
    assert np.median(off) < 0.2
    assert np.mean(off > 5) < 0.03  # mirrored, where perspective is weak


def test_the_second_pose_is_the_mirror_image(rng):
    camera, truth, seen = one_camera(rng)
    poses, errors = view_poses(BOARD.corners, camera.intrinsics.undistort(seen.corners[0]))
    middle = BOARD.corners.mean(axis=0)
    sight = truth[:, :3, :3] @ middle + truth[:, :3, 3]
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    first = np.einsum("ni,ni->n", truth[:, :3, 2], sight)
    second = np.einsum("ni,ni->n", poses[:, 1, :3, 2], sight)
    np.testing.assert_allclose(first, second, atol=1e-9)  # the same tilt to the line of sight
    assert (angles(poses[:, 1], truth) > 1).mean() > 0.9


def test_views_of_few_corners_or_of_one_line_are_not_posable(rng):
    _, _, seen = one_camera(rng, n_frames=20, tilt=20)
    corners = seen.corners[0, seen.n_seen[0].argmax()]
    grid = np.arange(BOARD.n_corners).reshape(10, 7)

    def posable(kept):
        kept = np.isin(np.arange(BOARD.n_corners), kept)
        view = np.where(kept[:, None], corners, np.nan)[None, None]
        return posable_views(replace(seen, corners=view, frames=[0]))[0, 0]

    assert posable(grid[:2, :4])
    assert not posable(grid[:1, :5])
    assert not posable(grid[3])
    assert not posable(grid[:, 2])


def test_homographies_map_the_board_to_the_image(rng):
    _, _, seen = one_camera(rng)
    maps, errors = homographies(BOARD.corners[:, :2], seen.corners[0])
    assert np.nanmax(errors) < 1e-8
    board = np.column_stack([BOARD.corners[:, :2], np.ones(BOARD.n_corners)])
    image = board @ np.swapaxes(maps, 1, 2)
    there = np.isfinite(seen.corners[0])
    np.testing.assert_allclose(
        (image[..., :2] / image[..., 2:])[there], seen.corners[0][there], atol=1e-8
    )


def test_a_pose_behind_the_camera_is_infinitely_wrong():
    pose = np.eye(4)
    pose[2, 3] = -100.0
    corners = np.zeros((BOARD.n_corners, 2))
    assert pose_errors(BOARD.corners, corners, pose) == np.inf
    assert pose_errors(BOARD.corners, corners * np.nan, np.eye(4)) == np.inf


def test_false_views_are_left_out_and_a_false_board_is_refused(rng):
    _, _, seen = one_camera(rng)
    corners = seen.corners.copy()
    corners[0, 3] = rng.uniform(0, 1000, size=corners[0, 3].shape)
    kept = without_false_views(replace(seen, corners=corners))
    assert np.isnan(kept.corners[0, 3]).all()
    np.testing.assert_array_equal(np.delete(kept.corners, 3, 1), np.delete(seen.corners, 3, 1))
    assert bends(seen)[0].max() < 1e-9
    exchanged = replace(seen, board=CharucoBoard(11, 8, 24.0, 18.0, "DICT_4X4_250"))
    with pytest.raises(CalibrationError, match="'cam_0'.*columns and rows exchanged"):
        without_false_views(exchanged)
