from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.bundle import bundle_adjust, free_parameters
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.levenberg import parameters
from calibration.multiview import move_rig
from calibration.normals import view_normals
from calibration.rotations import rotation_matrices, rotation_vectors
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(9, 7, 30.0, 22.0)
MODELS = ("pinhole", "brown", "rational", "fisheye")


def scene(rng, *, n_cameras=3, n_frames=15, model="brown", **settings):
    """A rig in its first camera's world, the boards before it, and what it sees."""
    rig = ring_rig(n_cameras, model=model, rng=rng)
    motion = rig.cameras[0].camera_from_world
    rig = move_rig(rig, motion)
    poses = motion @ moving_board(BOARD, n_frames, rng=rng)
    return rig, poses, simulate_detections(rig, BOARD, poses, rng=rng, **settings)


def shaken(rig, rng):
    """The same rig a little off; the first camera stays."""
    cameras = []
    for i, camera in enumerate(rig):
        lens = camera.intrinsics
        matrix = lens.matrix.copy()
        matrix[[0, 1], [0, 1]] *= 1 + 0.01 * rng.uniform(-1, 1, size=2)
        matrix[:2, 2] += rng.uniform(-5, 5, size=2)
        rvec = camera.rvec + (i > 0) * 0.01 * rng.uniform(-1, 1, size=3)
        tvec = camera.tvec + (i > 0) * 10 * rng.uniform(-1, 1, size=3)
        lens = replace(lens, matrix=matrix, dist=0.9 * lens.dist)
        cameras.append(Camera(camera.name, lens, rvec, tvec))
    return CameraRig(tuple(cameras), rig.units)


def difference(camera, other):
    """Parameters of one camera minus another's, the rotation as an increment."""
    out = parameters(camera) - parameters(other)
    out[:3] = rotation_vectors(camera.rotation @ other.rotation.T)
    return out


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("loss", [None, ("huber", 0.5), ("tukey", 2.0)])
def test_normal_equations_are_products_of_the_true_slopes(model, loss, rng):
    camera = ring_rig(2, model=model, rng=rng).cameras[0]
    matrix = camera.intrinsics.matrix.copy()
    matrix[0, 1] = 3.0  # skew counts, though it is not fitted
    lens = replace(camera.intrinsics, matrix=matrix)
    pose = camera.camera_from_world @ moving_board(BOARD, 1, rng=rng)[0]
    points = BOARD.corners

    def project(change):
        turn = rotation_matrices(change[:3]) @ pose[:3, :3]
        matrix = lens.matrix.copy()
        matrix[[0, 1, 0, 1], [0, 1, 2, 2]] += change[6:10]
        moved = Intrinsics(matrix, lens.dist + change[10:], lens.image_size, model)
        return moved.project(points @ turn.T + pose[:3, 3] + change[3:6])

    n = 10 + lens.dist.size
    steps = np.where(np.arange(n) < 3, 1e-6, 1e-4)
    slopes = [
        ((project(step) - project(-step)) / (2 * step.sum())).ravel() for step in np.diag(steps)
    ]
    corners = project(np.zeros(n)) + rng.normal(size=(BOARD.n_corners, 2))
    used = rng.uniform(size=BOARD.n_corners) < 0.8
    residual = corners - project(np.zeros(n))
    length = np.linalg.norm(residual, axis=1)
    weight = {
        None: np.ones_like(length),
        "huber": np.minimum(1.0, 0.5 / length),
        "tukey": np.maximum(0.0, 1 - (length / 2.0) ** 2) ** 2,
    }[loss and loss[0]]
    weight = np.repeat(weight * used, 2)
    columns = np.stack([*slopes, residual.ravel()])
    found, cost = view_normals(
        lens, pose[None, :3, :3], pose[None, :3, 3], points, corners[None], used[None], loss
    )
    expected = (columns * weight) @ columns.T
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    if loss is None:
        assert cost == pytest.approx((length[used] ** 2).sum())


def test_a_corner_behind_the_camera_costs_everything(rng):
    lens = ring_rig(2).cameras[0].intrinsics
    corners = np.zeros((1, BOARD.n_corners, 2))
    used = np.ones((1, BOARD.n_corners), dtype=bool)
    _, cost = view_normals(
        lens, np.eye(3)[None], np.array([[0.0, 0.0, -500.0]]), BOARD.corners, corners, used, None
    )
    assert cost == np.inf


@pytest.mark.parametrize("model", ["pinhole", "brown", "fisheye"])
def test_without_noise_the_truth_comes_back(model, rng):
    rig, poses, seen = scene(rng, model=model)
    result = bundle_adjust(shaken(rig, rng), seen, poses, tolerance=1e-14)
    assert np.nanmax(np.abs(result.residuals)) < 1e-6
    for found, truth in zip(result.rig, rig, strict=True):
        np.testing.assert_allclose(found.position, truth.position, atol=1e-4)
        np.testing.assert_allclose(found.intrinsics.matrix, truth.intrinsics.matrix, atol=1e-3)
    np.testing.assert_allclose(result.board_poses, poses, atol=1e-4)


def test_wrong_corners_are_found_and_leave_the_fit_alone(rng):
    rig, poses, clean = scene(rng, n_cameras=5, noise_px=0.3)
    wrong = np.isfinite(clean.corners[..., 0]) & (rng.uniform(size=clean.corners.shape[:3]) < 0.1)
    off = rng.uniform(10, 100, size=clean.corners.shape)
    corners = np.where(wrong[..., None], clean.corners + off, clean.corners)
    shared = int(np.argmax((clean.n_seen > 30).sum(axis=0)))
    corners[1, shared] += 30.0  # a whole view, which others contradict
    wrong[1, shared] = np.isfinite(corners[1, shared, :, 0])
    start = shaken(rig, rng)
    result = bundle_adjust(start, replace(clean, corners=corners), poses)
    assert not result.used[wrong].any()
    assert (np.isfinite(corners[..., 0]) & ~wrong & ~result.used).sum() <= 2
    assert np.isfinite(result.residuals[wrong]).all()  # left out of the fit, not of the report
    assert result.sigma_px == pytest.approx(0.3, rel=0.05)
    kept = np.where(wrong[..., None], np.nan, clean.corners)
    expected = bundle_adjust(start, replace(clean, corners=kept), poses)
    for found, other in zip(result.rig, expected.rig, strict=True):
        np.testing.assert_allclose(found.position, other.position, atol=0.2)


def test_errors_are_as_large_as_the_covariance_says(rng):
    squares = []
    for _ in range(15):
        rig, poses, seen = scene(rng, noise_px=0.05)  # small: where the slopes still hold
        result = bundle_adjust(rig, seen, poses)
        for camera, truth in zip(result.rig, rig, strict=True):
            block = slice(*result.rig.parameter_range(camera.name))
            covariance = result.rig.covariance[block, block]
            held = np.diag(covariance) == 0
            assert held.sum() == (6 if camera.name == "cam_0" else 0)
            off = difference(camera, truth)[~held]
            covariance = covariance[np.ix_(~held, ~held)]
            squares.append(off @ np.linalg.solve(covariance, off) / off.size)
    # 60 runs gave 1.00 with a spread of 0.22 from rig to rig
    assert np.mean(squares) == pytest.approx(1.0, abs=0.2)


def test_what_is_held_stays(rng):
    rig, poses, seen = scene(rng, noise_px=0.3)
    start = shaken(rig, rng)
    free = [
        free_parameters(start.cameras[0]),
        free_parameters(start.cameras[1], coefficients=(0, 1)),
        free_parameters(start.cameras[2], lens=False),
    ]
    result = bundle_adjust(start, seen, poses, free=free)
    first, second, third = result.rig
    np.testing.assert_array_equal(first.camera_from_world, start.cameras[0].camera_from_world)
    np.testing.assert_array_equal(second.intrinsics.dist[2:], start.cameras[1].intrinsics.dist[2:])
    assert second.intrinsics.dist[0] != start.cameras[1].intrinsics.dist[0]
    np.testing.assert_array_equal(third.intrinsics.matrix, start.cameras[2].intrinsics.matrix)
    assert not np.array_equal(third.tvec, start.cameras[2].tvec)
    start_of_third, _ = result.rig.parameter_range("cam_2")
    assert not result.rig.covariance[start_of_third + 6 :].any()


def test_boards_alone_are_placed_when_all_cameras_are_held(rng):
    rig, poses, seen = scene(rng)
    held = [np.zeros(camera.n_parameters, dtype=bool) for camera in rig]
    start = poses.copy()
    start[:, :3, 3] += 5.0
    start[4] = np.nan
    result = bundle_adjust(rig, seen, start, free=held, tolerance=1e-14)
    expected = poses.copy()
    expected[4] = np.nan
    np.testing.assert_allclose(result.board_poses, expected, atol=1e-5)
    assert np.isnan(result.residuals[:, 4]).all()
    np.testing.assert_array_equal(result.rig.cameras[1].tvec, rig.cameras[1].tvec)


def test_order_of_moments_changes_nothing(rng):
    rig, poses, seen = scene(rng, noise_px=0.3, outliers=0.02)
    start = shaken(rig, rng)
    order = rng.permutation(len(poses))
    first = bundle_adjust(start, seen, poses)
    second = bundle_adjust(start, seen.at(order), poses[order])
    for camera, other in zip(first.rig, second.rig, strict=True):
        np.testing.assert_allclose(camera.position, other.position, atol=1e-6)
    again = bundle_adjust(start, seen, poses)
    np.testing.assert_array_equal(first.rig.covariance, again.rig.covariance)


def test_too_little_to_fit_is_refused(rng):
    rig, poses, seen = scene(rng)
    with pytest.raises(CalibrationError, match="No board pose is known"):
        bundle_adjust(rig, seen, np.full_like(poses, np.nan))
    few = np.where(np.arange(BOARD.n_corners)[:, None] < 4, seen.corners, np.nan)
    few = replace(seen, corners=few).at(slice(0, 2))
    with pytest.raises(CalibrationError, match="not enough for"):
        bundle_adjust(rig, few, poses[:2], robust=False)
    with pytest.raises(ValueError, match="the rig has cam_2"):
        bundle_adjust(rig.subset(["cam_2", "cam_1", "cam_0"]), seen, poses)
