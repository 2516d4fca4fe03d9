from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard, Checkerboard
from calibration.bundle import bundle_adjust, free_parameters
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.intrinsics import AUTO_CHOICES, LENS_CHOICES, blind_share, calibrate_lens
from calibration.lenses import distort
from calibration.poses import posable_views, view_poses
from calibration.searching import detect_boards
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(11, 8, 30.0, 22.0)


def seen_by_one(rng, *, dist, model="brown", n_frames=30, **settings):
    """One camera that sees all boards, its lens, and its detections."""
    camera = ring_rig(1, model="pinhole", rng=rng).cameras[0]
    lens = replace(camera.intrinsics, dist=dist, model=model)
    rig = CameraRig((Camera(camera.name, lens, camera.rvec, camera.tvec),))
    poses = moving_board(BOARD, n_frames, rng=rng)
    return lens, simulate_detections(rig, BOARD, poses, rng=rng, **settings)


@pytest.mark.parametrize(
    ("choice", "dist"),
    [
        ("pinhole", []),
        ("k1", [-0.25, 0, 0, 0, 0]),
        ("brown", [-0.3, 0.1, 0.001, -0.002, 0.02]),
        ("fisheye", [-0.03, 0.005, -0.002, 0.0005]),
    ],
)
def test_a_lens_comes_back_from_exact_corners(choice, dist, rng):
    kind, coefficients = LENS_CHOICES[choice]
    lens, seen = seen_by_one(rng, dist=dist, model=kind)
    fit = calibrate_lens(seen, "cam_0", model=choice)
    # what is believed of lenses beforehand weighs a hair, where noise would weigh pixels
    np.testing.assert_allclose(fit.intrinsics.matrix, lens.matrix, atol=0.05)
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-0.4, 0.4, 9)]), axis=-1)
    found, truth = (distort(grid, each.dist, kind) for each in (fit.intrinsics, lens))
    np.testing.assert_allclose(found, truth, atol=1e-4)
    assert fit.coefficients == coefficients
    assert fit.rms_px < 1e-3


def test_models_are_chosen_by_what_they_foretell(rng):
    _, seen = seen_by_one(rng, dist=[-0.3, 0.1, 0.004, -0.004, 0], noise_px=0.2)
    fit = calibrate_lens(seen, "cam_0")
    assert set(fit.left_out_px) == set(AUTO_CHOICES) - {"fisheye"}  # no wide lens
    assert fit.choice in fit.why
    assert fit.left_out_px[fit.choice] < 1.01 * min(fit.left_out_px.values())
    _, plain = seen_by_one(rng, dist=[-0.3, 0.1, 0, 0, 0], noise_px=0.2)
    assert calibrate_lens(plain, "cam_0").left_out_px["k1k2p1p2"] == pytest.approx(0.2, rel=0.05)


def test_simple_models_are_kept_where_richer_ones_gain_nothing(rng):
    chosen = []
    for _ in range(6):
        _, seen = seen_by_one(rng, dist=[-0.3, 0.1, 0, 0, 0], noise_px=0.3)
        chosen.append(calibrate_lens(seen, "cam_0").choice)
    assert chosen.count("k1k2p1p2") >= 4


def test_a_wide_lens_is_known_as_a_fisheye(rng):
    rig = ring_rig(1, focal=420.0, radius=380, model="fisheye", rng=rng)
    poses = moving_board(BOARD, 40, reach=200, rng=rng)
    seen = simulate_detections(rig, BOARD, poses, noise_px=0.2, rng=rng)
    fit = calibrate_lens(seen, "cam_0")
    truth = rig.cameras[0].intrinsics
    assert fit.left_out_px["fisheye"] == min(fit.left_out_px.values())
    np.testing.assert_allclose(fit.intrinsics.matrix[0, 0], truth.matrix[0, 0], rtol=0.01)


def test_left_out_error_is_that_of_fits_without_the_view(rng):
    _, seen = seen_by_one(rng, dist=[-0.3, 0.1, 0, 0, 0], noise_px=0.3, n_frames=12)
    seen = seen.at(posable_views(seen)[0])
    told = calibrate_lens(seen, "cam_0").left_out_px["k1k2p1p2"]
    losses = []
    n_frames = len(seen.frames)
    for k in range(n_frames):
        rest = calibrate_lens(
            seen.at(np.arange(n_frames) != k), "cam_0", model="k1k2p1p2"
        ).intrinsics
        alone = seen.at([k])
        rig = CameraRig((Camera("cam_0", rest, np.zeros(3), np.zeros(3)),))
        poses, _ = view_poses(np.array(BOARD.corners), rest.undistort(alone.corners[0]))
        held = [free_parameters(rig.cameras[0], pose=False, lens=False)]
        fit = bundle_adjust(rig, alone, poses[:, 0], free=held, robust=False)
        losses.append(fit.residuals[0, 0])
    assert told == pytest.approx(np.sqrt(np.nanmean(np.square(losses))), rel=0.03)


def test_wild_corners_do_not_bend_a_lens(rng):
    lens, seen = seen_by_one(rng, dist=[-0.3, 0.1, 0, 0, 0], noise_px=0.2, outliers=0.05)
    found = calibrate_lens(seen, "cam_0", model="k1k2").intrinsics
    np.testing.assert_allclose(found.matrix[0, 0], lens.matrix[0, 0], rtol=2e-3)


@pytest.mark.parametrize("focal", [350.0, 5000.0])
def test_wide_and_long_lenses_are_found(focal, rng):
    rig = ring_rig(1, focal=focal, radius=0.9 * focal, model="pinhole", rng=rng)
    seen = simulate_detections(rig, BOARD, moving_board(BOARD, 30, rng=rng), noise_px=0.1, rng=rng)
    found = calibrate_lens(seen, "cam_0", model="pinhole").intrinsics
    truth = rig.cameras[0].intrinsics
    np.testing.assert_allclose(found.matrix[0, 0], truth.matrix[0, 0], rtol=5e-3)


def test_a_camera_without_boards_is_named(rng):
    _, seen = seen_by_one(rng, dist=[-0.3, 0.1, 0, 0, 0], n_frames=5)
    with pytest.raises(CalibrationError, match="Camera 'cam_0' never shows enough"):
        calibrate_lens(replace(seen, corners=np.full_like(seen.corners, np.nan)), "cam_0")
    with pytest.raises(ValueError, match="k1k2"):
        calibrate_lens(seen, "cam_0", model="brwon")


def test_a_lens_that_turns_back_inside_the_image_is_seen_to():
    matrix = [[700, 0, 639.5], [0, 700, 511.5], [0, 0, 1]]
    assert blind_share(Intrinsics(matrix, [-0.3, 0.1, 0, 0, 0], (1280, 1024))) == 0
    assert blind_share(Intrinsics(matrix, [-0.3, 0.1, 0, 0, -0.1], (1280, 1024))) > 0.05


def test_focal_lengths_of_the_walking_persons_cameras_are_those_of_qualisys(data_folder):
    """Seven pictures of a checkerboard each; Qualisys' own figures, px."""
    folder = data_folder / "pose2sim_single_person" / "calibration" / "intrinsics"
    board = Checkerboard(5, 8, 60.0)
    for name, truth in {"cam01": 1681.2, "cam03": 1681.6, "cam04": 1675.2}.items():
        seen = detect_boards(board, {name: folder / f"int_{name}_img"})
        fit = calibrate_lens(seen, name, believed=True)
        error = fit.rms_px * np.sqrt(np.linalg.pinv(fit.belief[1])[6, 6])
        off = abs(fit.intrinsics.matrix[0, 0] - truth)
        assert off < max(0.01 * truth, 2 * error)  # 0.4 % measured, of each
