from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.cameras import Camera, CameraRig
from calibration.results import HeldOut, RigCalibration, TimeFault, Verdict
from calibration.solve import board_residuals, standard_errors
from calibration.synthetic import moving_board, ring_rig, simulate_detections
from calibration.verdict import judge

BOARD = CharucoBoard(8, 11, 24.0, 18.0, "DICT_4X4_250")


def calibration(rng, rig=None, *, n_frames=40, noise_px=0.2, error=1e-6):
    """A calibration that found the truth, with standard errors that all are `error`."""
    rig = rig or ring_rig(3, rng=rng)
    side = sum(camera.n_parameters for camera in rig)
    rig = CameraRig(rig.cameras, rig.units, error**2 * np.eye(side))
    poses = moving_board(BOARD, n_frames, rng=rng)
    seen = simulate_detections(rig, BOARD, poses, noise_px=noise_px, rng=rng)
    there = (seen.n_seen > 6).astype(int)
    return RigCalibration(
        rig,
        seen,
        poses,
        board_residuals(rig, seen, poses),
        HeldOut(noise_px, 1000, 0.0, 0.1, 0.05, np.zeros(len(rig)), np.zeros(len(rig))),
        there @ there.T,
        standard_errors(rig),
        Verdict(()),
    )


def with_lens(rig, name, **changes):
    cameras = [
        Camera(name, replace(c.intrinsics, **changes), c.rvec, c.tvec) if c.name == name else c
        for c in rig
    ]
    return CameraRig(tuple(cameras), rig.units)


def with_held_out(calibration, **changes):
    return replace(calibration, held_out=replace(calibration.held_out, **changes))


def told(calibration, name, **settings):
    """Level and text of one finding, the worst of its name."""
    found = [f for f in judge(calibration, **settings).findings if f.name == name]
    assert found, [f.name for f in judge(calibration, **settings).findings]
    return min((f.level, f.found) for f in found)


def test_the_truth_passes_and_everything_looked_at_is_said(rng):
    verdict = judge(calibration(rng))
    assert verdict.level == "PASS", str(verdict)
    assert len(verdict.findings) >= 12
    assert all(f.found and not f.remedy for f in verdict.findings)
    scale = next(f.found for f in verdict.findings if f.name == "scale")
    assert "24 mm" in scale
    assert "'cam_0' to 'cam_1'" in scale


def test_copies_of_a_camera_fail_by_name(rng):
    rig = ring_rig(3, rng=rng)
    first = rig.cameras[0]
    twin = Camera("twin", first.intrinsics, first.rvec, first.tvec)
    level, text = told(calibration(rng, CameraRig((*rig.cameras, twin))), "places")
    assert level == "FAIL"
    assert "'cam_0' and 'twin'" in text


def test_cameras_almost_in_one_another_are_warned_of(rng):
    rig = ring_rig(3, rng=rng)
    first = rig.cameras[0]
    near = Camera("near", first.intrinsics, first.rvec, first.tvec + [2.0, 0, 0])
    level, text = told(calibration(rng, CameraRig((*rig.cameras, near))), "places")
    assert level == "WARN"
    assert "2 mm apart" in text


def test_uncertain_lenses_and_places_are_graded(rng):
    for error, level in ((5.0, "PASS"), (20.0, "WARN"), (80.0, "FAIL")):  # px, of some 1000
        assert told(calibration(rng, error=error), "standard error of the focal length")[0] == level
    assert told(calibration(rng, error=0.1), "standard error of the position")[0] == "FAIL"


@pytest.mark.parametrize(
    ("matrix", "level", "words"),
    [
        ([[1000, 0, 1100], [0, 1000, 511], [0, 0, 1]], "WARN", "principal point 1100"),
        ([[1000, 0, 640], [0, 1050, 511], [0, 0, 1]], "WARN", "fx 1000 and fy 1050"),
        ([[300, 0, 640], [0, 300, 511], [0, 0, 1]], "WARN", "focal lengths 300"),
        ([[150, 0, 640], [0, 150, 511], [0, 0, 1]], "FAIL", "focal lengths 150"),
    ],
)
def test_lenses_that_are_none_are_described(matrix, level, words, rng):
    rig = with_lens(ring_rig(3, model="pinhole", rng=rng), "cam_1", matrix=matrix)
    found, text = told(calibration(rng, rig), "lens")
    assert found == level
    assert "'cam_1'" in text
    assert words in text


def test_a_lens_without_rays_in_the_corners_is_warned_of(rng):
    rig = with_lens(ring_rig(3, rng=rng), "cam_2", dist=[-0.4, 0.1, 0, 0, -0.1])
    level, text = told(calibration(rng, rig), "lens beyond the board")
    assert level == "WARN"
    assert "'cam_2'" in text


def test_residuals_are_graded_and_the_worst_camera_named(rng):
    good = calibration(rng)
    assert told(calibration(rng, noise_px=1.5), "residual")[0] == "WARN"
    assert told(calibration(rng, noise_px=4.0), "residual")[0] == "FAIL"
    residuals = good.residuals.copy()
    residuals[1] *= 4
    level, text = told(replace(good, residuals=residuals), "residual by camera")
    assert level == "WARN"
    assert text.startswith("'cam_1'")
    assert "cam_0" not in text


def test_cameras_that_agree_with_themselves_alone_fail(rng):
    good = calibration(rng)
    alone = {"cam_0": 0.19, "cam_1": 0.19, "cam_2": 0.19}
    name = "cameras alone and together"
    assert told(good, name, alone_px=alone)[0] == "PASS"
    late = replace(good, residuals=5 * good.residuals)
    assert told(late, name, alone_px=alone)[0] == "FAIL"
    assert name not in {f.name for f in judge(late).findings}  # known lenses are not fitted


def test_a_fit_that_does_not_foretell_fails(rng):
    good = calibration(rng)
    assert told(with_held_out(good, rms_px=0.4), "held out")[0] == "WARN"
    assert told(with_held_out(good, rms_px=0.9), "held out")[0] == "FAIL"
    assert told(replace(good, held_out=None), "held out")[0] == "WARN"


def test_corners_and_views_left_out_are_counted(rng):
    good = calibration(rng)
    corners = good.detections.corners.copy()
    views = np.flatnonzero(good.detections.n_seen[0])[:4]
    corners[0, views] = np.nan
    bad = replace(good, detections=replace(good.detections, corners=corners))
    level, text = told(bad, "views judged wrong")
    assert level == "WARN"
    assert f"{100 * 4 / (good.detections.n_seen[0] > 0).sum():.1f} %" in text
    corners[0] = np.nan  # all of a camera
    bad = replace(good, detections=replace(good.detections, corners=corners))
    assert told(bad, "corners judged wrong")[0] == "FAIL"


def test_few_moments_weak_links_and_bare_images_are_warned_of(rng):
    few = calibration(rng, n_frames=4)
    assert told(few, "moments")[0] == "WARN"
    assert told(few, "image covered")[0] == "WARN"
    shared = np.full((3, 3), 20)
    shared[2, :2] = shared[:2, 2] = 3
    assert told(replace(few, shared_views=shared), "links between cameras")[0] == "WARN"
    shared[2, :2] = shared[:2, 2] = 1
    level, text = told(replace(few, shared_views=shared), "links between cameras")
    assert level == "FAIL"
    assert "'cam_2'" in text


def test_time_faults_fail_by_name_and_mended_ones_are_said(rng):
    good = calibration(rng)
    late = TimeFault("cam_1", "late", frames=2.0)
    level, text = told(replace(good, time_faults=(late,)), "times")
    assert level == "FAIL"
    assert "'cam_1' is 2 frames late" in text
    lost = TimeFault("cam_2", "lost", last=16, frame=18, frames=1.0)
    level, text = told(replace(good, fixed_faults=(lost,)), "times")
    assert level == "WARN"
    assert "'cam_2' lost 1 frame between frames 16 and 18" in text


def test_lengths_of_boards_kept_out_are_graded(rng):
    good = calibration(rng)
    assert told(good, "lengths measured")[0] == "PASS"
    for bias, level in ((0.004, "PASS"), (0.02, "WARN"), (0.2, "FAIL")):
        assert told(with_held_out(good, length_bias=bias), "lengths measured")[0] == level


def test_answers_that_change_with_half_of_the_moments_are_told(rng):
    good = calibration(rng, error=1e-3)
    change = np.array([0.0, 50.0, 0.0])
    level, text = told(with_held_out(good, position_change=change), "repeated on half the moments")
    assert level == "FAIL"
    assert "'cam_1' 50 mm" in text


def test_a_measured_distance_shows_a_wrong_scale(rng):
    good = calibration(rng)
    first, second = good.rig.cameras[:2]
    true = float(np.linalg.norm(first.position - second.position))
    for factor, level in ((1.0, "PASS"), (1.03, "WARN"), (10.0, "FAIL")):
        pair = ("cam_0", "cam_1", true * factor)
        assert told(good, "distances told", distances=[pair])[0] == level
    with pytest.raises(ValueError, match="no camera 'cam_9'"):
        judge(good, distances=[("cam_0", "cam_9", 1.0)])
