import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(8, 6, 30.0, 22.0)


@pytest.mark.parametrize("model", ["pinhole", "brown", "rational", "fisheye"])
@pytest.mark.parametrize("n_cameras", [1, 2, 6])
def test_cameras_of_a_ring_see_the_middle(model, n_cameras, rng):
    for source in (None, rng):
        rig = ring_rig(n_cameras, model=model, rng=source)
        middle = rig.project(np.zeros(3))
        assert np.abs(middle - [639.5, 511.5]).max() < 60
        distances = [np.linalg.norm(camera.position) for camera in rig]
        np.testing.assert_allclose(distances, 1000.0)
        up = rig.project(np.array([0.0, 0.0, 50.0])) - middle
        assert (up[:, 1] < 0).all()  # y is down


def test_two_cameras_stand_sixty_degrees_apart():
    first, second = (camera.position[:2] for camera in ring_rig(2))
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert cosine == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_detections():
    def detect(seed):
        rng = np.random.default_rng(seed)
        poses = moving_board(BOARD, 10, rng=rng)
        return simulate_detections(
            ring_rig(3, rng=rng), BOARD, poses, noise_px=0.3, covered=0.5, outliers=0.02, rng=rng
        )

    np.testing.assert_array_equal(detect(1).corners, detect(1).corners)
    assert not np.array_equal(detect(1).corners, detect(2).corners, equal_nan=True)


def test_corners_stand_where_the_board_is(rng):
    rig = ring_rig(4, rng=rng)
    poses = moving_board(BOARD, 20, rng=rng)
    seen = simulate_detections(rig, BOARD, poses)
    world = np.einsum("fij,kj->fki", poses[:, :3, :3], BOARD.corners) + poses[:, None, :3, 3]
    good = np.isfinite(seen.corners[..., 0])
    assert good.mean() > 0.5
    np.testing.assert_allclose(seen.corners[good], rig.project(world)[good])
    noisy = simulate_detections(rig, BOARD, poses, noise_px=0.4, rng=rng).corners
    assert np.nanstd(noisy - seen.corners) == pytest.approx(0.4, rel=0.05)


def test_nobody_sees_the_back_of_a_board(rng):
    rig = ring_rig(4)
    poses = moving_board(BOARD, 5, tilt=10, rng=rng)
    turned = poses @ np.diag([1.0, -1.0, -1.0, 1.0])
    assert simulate_detections(rig, BOARD, poses).n_seen.any()
    assert not simulate_detections(rig, BOARD, turned).n_seen.any()


def test_covers_and_outliers_come_in_the_shares_asked_for(rng):
    rig = ring_rig(4)
    poses = moving_board(BOARD, 60, reach=50, tilt=20, rng=rng)
    whole = simulate_detections(rig, BOARD, poses)
    part = simulate_detections(rig, BOARD, poses, covered=0.5, rng=rng)
    cut = (part.n_seen < whole.n_seen).sum() / (whole.n_seen > 0).sum()
    assert cut == pytest.approx(0.5, abs=0.15)
    wild = simulate_detections(rig, BOARD, poses, outliers=0.1, rng=rng)
    seen = np.isfinite(whole.corners[..., 0])
    off = np.linalg.norm(wild.corners - whole.corners, axis=-1)[seen] > 1
    assert off.mean() == pytest.approx(0.1, abs=0.02)
