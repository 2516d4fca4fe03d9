"""Compiled code gives NumPy's answers, and small jobs never wait for a compiler."""

import os
import subprocess
import sys

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.bundle import bundle_adjust
from calibration.cameras import CameraRig
from calibration.lenses import undistort
from calibration.multiview import align_rigs, move_rig
from calibration.poses import homographies, pose_errors
from calibration.solve import calibrate
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(9, 7, 30.0, 22.0)


def both_ways(monkeypatch, call):
    """Return what NumPy and what compiled code gives."""
    monkeypatch.setenv("POSE3D_COMPILE", "never")
    plain = call()
    monkeypatch.setenv("POSE3D_COMPILE", "always")
    return plain, call()


def boards_before(rig, rng, **settings):
    poses = moving_board(BOARD, 12, rng=rng)
    return poses, simulate_detections(rig, BOARD, poses, rng=rng, **settings)


@pytest.mark.parametrize("model", ["pinhole", "brown", "rational", "fisheye"])
def test_compiled_fits_equal_those_of_numpy(model, rng, monkeypatch):
    rig = ring_rig(3, model=model, rng=rng)
    motion = rig.cameras[0].camera_from_world
    rig = move_rig(rig, motion)
    poses, seen = boards_before(move_rig(rig, np.linalg.inv(motion)), rng, noise_px=0.3)
    poses = motion @ poses
    poses[:, :3, 3] += 1.0
    plain, fast = both_ways(
        monkeypatch, lambda: bundle_adjust(rig, seen, poses, tolerance=1e-15, max_iterations=30)
    )
    np.testing.assert_allclose(fast.residuals, plain.residuals, atol=1e-5)
    np.testing.assert_array_equal(fast.used, plain.used)
    for camera, other in zip(fast.rig, plain.rig, strict=True):
        np.testing.assert_allclose(camera.position, other.position, atol=1e-4)
    alone = CameraRig(rig.cameras[:1])
    one = type(seen)(seen.corners[:1], ("cam_0",), BOARD, seen.image_sizes[:1], seen.frames)
    plain, fast = both_ways(
        monkeypatch, lambda: bundle_adjust(alone, one, poses, tolerance=1e-15, max_iterations=40)
    )
    np.testing.assert_allclose(fast.residuals, plain.residuals, atol=1e-5)


def test_compiled_homographies_and_pose_errors_equal_those_of_numpy(rng, monkeypatch):
    rig = ring_rig(1, rng=rng)
    poses, seen = boards_before(rig, rng, noise_px=0.2)
    corners = seen.corners[0].copy()
    full = corners[np.isfinite(corners[..., 0]).sum(axis=1) > 30]
    plain, fast = both_ways(monkeypatch, lambda: homographies(BOARD.corners[:, :2], full))
    np.testing.assert_allclose(fast[1], plain[1], atol=0.2)  # px: another norm is least
    np.testing.assert_allclose(np.nanmean(fast[1]), np.nanmean(plain[1]), rtol=0.05)
    corners[2] = np.nan
    lens = rig.cameras[0].intrinsics
    views = rig.cameras[0].camera_from_world @ poses
    normalised = lens.undistort(corners)
    plain, fast = both_ways(monkeypatch, lambda: pose_errors(BOARD.corners, normalised, views))
    np.testing.assert_allclose(fast, plain, rtol=1e-9)


@pytest.mark.parametrize("model", ["brown", "rational", "fisheye"])
def test_compiled_lenses_are_undone_as_in_numpy(model, rng, monkeypatch):
    lens = ring_rig(1, model=model, rng=rng).cameras[0].intrinsics
    # far beyond the image the model has no rays: both must say so
    points = rng.uniform(-2.5, 2.5, size=(4000, 2))
    points[7] = np.nan
    plain, fast = both_ways(monkeypatch, lambda: undistort(points, lens.dist, lens.model))
    inside = np.linalg.norm(points, axis=1) < 0.7
    np.testing.assert_allclose(fast[inside], plain[inside], atol=1e-12)
    assert (np.isnan(fast[:, 0]) == np.isnan(plain[:, 0])).mean() > 0.995


def test_whole_calibrations_agree_compiled_or_not(rng, monkeypatch):
    rig = ring_rig(3, rng=rng)
    poses = moving_board(BOARD, 25, rng=rng)
    seen = simulate_detections(rig, BOARD, poses, noise_px=0.2, outliers=0.02, rng=rng)
    plain, fast = both_ways(monkeypatch, lambda: calibrate(seen, hold_out=False))
    np.testing.assert_array_equal(
        np.isnan(plain.detections.corners), np.isnan(fast.detections.corners)
    )
    np.testing.assert_allclose(plain.residuals, fast.residuals, atol=1e-3)
    again = calibrate(seen, hold_out=False)
    np.testing.assert_array_equal(again.residuals, fast.residuals)


def test_order_of_moments_and_cameras_changes_nothing(rng, monkeypatch):
    monkeypatch.setenv("POSE3D_COMPILE", "never")
    rig = ring_rig(3, rng=rng)
    poses = moving_board(BOARD, 20, rng=rng)
    seen = simulate_detections(rig, BOARD, poses, noise_px=0.2, rng=rng)
    first = calibrate(seen, hold_out=False).rig
    order = rng.permutation(20)
    cameras = [2, 0, 1]
    mixed = type(seen)(
        seen.corners[cameras][:, order],
        tuple(seen.cameras[i] for i in cameras),
        BOARD,
        seen.image_sizes[cameras],
        seen.frames[order],
    )
    second = calibrate(mixed, hold_out=False).rig.subset(rig.names)
    second = move_rig(second, align_rigs(second, first))
    for camera, other in zip(first, second, strict=True):
        np.testing.assert_allclose(camera.position, other.position, atol=1e-2)
        np.testing.assert_allclose(
            camera.intrinsics.matrix, other.intrinsics.matrix, rtol=1e-5, atol=1e-2
        )


def test_a_small_job_neither_imports_nor_waits_for_a_compiler(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from calibration.boards import CharucoBoard\n"
        "from calibration.solve import calibrate\n"
        "from calibration.synthetic import moving_board, ring_rig, simulate_detections\n"
        "rng = np.random.default_rng(0)\n"
        "rig, board = ring_rig(3, rng=rng), CharucoBoard(9, 7, 30.0, 22.0)\n"
        "poses = moving_board(board, 15, rng=rng)\n"
        "calibrate(simulate_detections(rig, board, poses, noise_px=0.2, rng=rng))\n"
        "print('numba' in sys.modules)\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "POSE3D_COMPILE": "auto"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_wrong_wish_is_refused(rng, monkeypatch):
    monkeypatch.setenv("POSE3D_COMPILE", "perhaps")
    _, seen = boards_before(ring_rig(2, rng=rng), rng)
    with pytest.raises(ValueError, match="POSE3D_COMPILE is 'perhaps'"):
        calibrate(seen)
