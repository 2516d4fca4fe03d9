"""A gallery of broken calibrations: each is refused, named, or survived with the right answer.

The rows are those on which the field's tools were found to return small numbers for wrong rigs:
four cameras on a ring, 1280 x 1024, f 1400 px, ChArUco 8 x 6 of 20 mm, 40 boards, 0.2 px.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import BoardDetections, CharucoBoard, Checkerboard
from calibration.cameras import Camera, CameraRig
from calibration.errors import CalibrationError
from calibration.multiview import align_rigs, move_rig
from calibration.rotations import rotation_matrices
from calibration.solve import calibrate
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(8, 6, 20.0, 15.0, "DICT_4X4_50")
EVEN = Checkerboard(8, 6, 20.0)  # looks the same after half a turn
NOISE = 0.2


def waved(board, n_frames, *, turns=6.0):
    """A board waved before the cameras: consecutive frames."""
    time = np.linspace(0, turns, n_frames)
    wave = np.stack([np.sin(time), np.cos(1.3 * time), np.sin(1.7 * time + 1)], axis=-1)
    poses = np.tile(np.eye(4), (n_frames, 1, 1))
    poses[:, :3, :3] = rotation_matrices(0.5 * wave) @ np.diag([1.0, -1.0, -1.0])
    middle = board.corners.mean(axis=0)
    poses[:, :3, 3] = 100 * wave[:, ::-1] - poses[:, :3, :3] @ middle
    return poses


def scene(seed, *, board=BOARD, poses=None, n_frames=40, **settings):
    rng = np.random.default_rng(seed)
    rig = ring_rig(4, focal=1400, rng=rng)
    if poses is None:
        poses = moving_board(board, n_frames, reach=100, rng=rng)
    seen = simulate_detections(rig, board, poses, noise_px=NOISE, rng=rng, **settings)
    return rig, poses, seen, rng


def whole(seen):
    """What a checkerboard's detector gives: all corners or none."""
    there = np.isfinite(seen.corners).all(axis=(2, 3), keepdims=True)
    return replace(seen, corners=np.where(there, seen.corners, np.nan))


def late(seen, camera, frames):
    """The detections with one camera late by some frames."""
    source = np.arange(len(seen.frames)) - frames
    there = (source >= 0) & (source < len(seen.frames))
    corners = seen.corners.copy()
    corners[camera] = np.nan
    corners[camera, there] = seen.corners[camera, source[there]]
    return replace(seen, corners=corners)


def error_mm(result, rig):
    """How far the worst camera is from the truth, after the best rigid motion."""
    found = move_rig(result.rig, align_rigs(result.rig, rig))
    return max(np.linalg.norm(a.position - b.position) for a, b in zip(found, rig, strict=True))


def within_stated(result, rig):
    """Tell whether every camera is where it is said to be, to five standard errors."""
    stated = np.linalg.norm(result.standard_errors["position"], axis=1).max()
    return error_mm(result, rig) < 5 * stated + 0.5


def refusal(seen, **settings):
    with pytest.raises(CalibrationError) as caught:
        calibrate(seen, **settings)
    text = str(caught.value)
    assert re.search(r"Record|Check|Move|move|Give|Mend|record|Use", text), text
    return text


def findings(result, *levels):
    return " ".join(
        f"{f.level} {f.name}: {f.found} {f.remedy}"
        for f in result.verdict.findings
        if f.level in levels
    )


def told(seen, **settings):
    """What is said of bad detections: the refusal, or the findings that are not well."""
    try:
        return findings(calibrate(seen, **settings), "WARN", "FAIL")
    except CalibrationError as error:
        return str(error)


# Good rows, and faults that are survived.


@pytest.mark.parametrize("seed", range(3))
def test_nothing_wrong_gives_the_rig_and_no_refusal(seed):
    rig, _, seen, _ = scene(seed)
    result = calibrate(seen)
    assert within_stated(result, rig)
    assert result.verdict.level != "FAIL", str(result.verdict)
    assert not result.time_faults


def test_a_board_flat_on_a_table_works():
    rng = np.random.default_rng(0)
    poses = moving_board(BOARD, 40, reach=100, tilt=0.0, rng=rng)
    poses[:, 2, 3] = 0.0
    rig, _, seen, _ = scene(1, poses=poses)
    result = calibrate(seen)
    assert within_stated(result, rig)
    assert result.verdict.level != "FAIL", str(result.verdict)


def test_many_consecutive_frames_work():
    rig, _, seen, _ = scene(2, poses=waved(BOARD, 120))
    result = calibrate(seen)
    assert within_stated(result, rig)
    assert result.verdict.level != "FAIL", str(result.verdict)
    assert not result.time_faults


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_checkerboards_reported_half_turned_are_set_right(share):
    rig, _, seen, rng = scene(3, board=EVEN)
    corners = whole(seen).corners.copy()
    turned = rng.uniform(size=corners.shape[:2]) < share
    corners[turned] = corners[turned][:, ::-1]
    assert within_stated(calibrate(replace(seen, corners=corners)), rig)


def test_a_camera_that_always_reports_the_board_half_turned_is_set_right():
    rig, _, seen, _ = scene(4, board=EVEN)
    corners = whole(seen).corners.copy()
    corners[1] = corners[1, :, ::-1]
    assert within_stated(calibrate(replace(seen, corners=corners)), rig)


def test_a_checkerboard_of_odd_counts_of_corners_works():
    board = Checkerboard(8, 6, 20.0)  # 7 x 5 inner corners
    rig, _, seen, rng = scene(5, board=board)
    corners = whole(seen).corners.copy()
    turned = rng.uniform(size=corners.shape[:2]) < 0.5
    corners[turned] = corners[turned][:, ::-1]
    assert within_stated(calibrate(replace(seen, corners=corners)), rig)


def test_garbage_boards_and_a_corner_without_numbers_are_survived():
    rig, _, seen, rng = scene(6)
    corners = seen.corners.copy()
    garbage = (rng.uniform(size=corners.shape[:2]) < 0.1) & (seen.n_seen > 0)
    there = np.isfinite(corners[garbage])
    corners[garbage] = np.where(there, rng.uniform(0, 1000, size=there.shape), np.nan)
    corners[0, 3, 5] = np.nan
    result = calibrate(replace(seen, corners=corners))
    assert within_stated(result, rig)
    assert result.verdict.level != "FAIL", str(result.verdict)


# Recordings that cannot answer: refused, with names.


def test_cameras_that_share_no_view_are_refused_as_groups():
    _, _, seen, _ = scene(0)
    corners = np.full_like(seen.corners, np.nan)
    for camera in range(4):
        corners[camera, camera::4] = seen.corners[camera, camera::4]
    text = refusal(replace(seen, corners=corners))
    assert all(f"'cam_{camera}'" in text for camera in range(4))


def test_islands_are_refused_as_groups():
    _, _, seen, _ = scene(0)
    corners = seen.corners.copy()
    corners[:2, ::2] = np.nan
    corners[2:, 1::2] = np.nan
    assert "'cam_0', 'cam_1'; 'cam_2', 'cam_3'" in refusal(replace(seen, corners=corners))


def test_a_camera_that_sees_no_board_is_refused_by_name():
    _, _, seen, _ = scene(0)
    corners = seen.corners.copy()
    corners[2] = np.nan
    assert "'cam_2' never sees enough" in refusal(replace(seen, corners=corners))


def test_a_camera_that_sees_one_board_is_told_by_name():
    _, _, seen, _ = scene(0)
    corners = seen.corners.copy()
    best = int((seen.n_seen[[0, 3]].min(axis=0)).argmax())
    corners[3, np.arange(40) != best] = np.nan
    assert "'cam_3'" in told(replace(seen, corners=corners))


def test_an_infinite_corner_is_refused_by_camera_and_moment():
    _, _, seen, _ = scene(0)
    corners = seen.corners.copy()
    camera, moment, corner = np.argwhere(np.isfinite(corners[..., 0]))[100]
    corners[camera, moment, corner] = np.inf
    with pytest.raises((ValueError, CalibrationError)) as caught:
        calibrate(replace(seen, corners=corners))
    assert f"'cam_{camera}'" in str(caught.value)


def test_two_cameras_of_one_name_are_refused():
    _, _, seen, _ = scene(0)
    with pytest.raises(ValueError, match="cam_0"):
        replace(seen, cameras=("cam_0", "cam_1", "cam_0", "cam_3"))


def test_rows_and_columns_exchanged_are_refused():
    _, _, seen, _ = scene(0)
    board = CharucoBoard(6, 8, 20.0, 15.0, "DICT_4X4_50")
    assert "columns and rows exchanged" in refusal(replace(seen, board=board))


# Numbers that would look right and be wrong: named.


def test_a_board_that_never_moves_fails():
    still = np.tile(
        moving_board(BOARD, 1, reach=0, tilt=5, rng=np.random.default_rng(0)), (40, 1, 1)
    )
    _, _, seen, _ = scene(0, poses=still)
    assert "FAIL motion of the board: The board never moves." in told(seen)


@pytest.mark.parametrize("frames", [1, 5, 15, -3])
@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_a_late_camera_is_named_with_its_frames_and_mended(frames, kind):
    poses = waved(BOARD, 60) if kind == "video" else None
    rig, _, seen, _ = scene(7, poses=poses)
    bad = late(seen, 2, frames)
    word = "late" if frames > 0 else "early"
    named = f"'cam_2' is {abs(frames)} frame{'s' * (abs(frames) > 1)} {word}"
    assert named in told(bad, hold_out=False)
    mended = calibrate(bad, fix_sync=True, hold_out=False)
    assert within_stated(mended, rig)
    assert named in findings(mended, "WARN")
    assert mended.fixed_faults[0].frames == frames


def test_a_camera_late_by_a_fraction_of_a_frame_is_named_and_mended():
    rig, _, fine, _ = scene(8, poses=waved(BOARD, 600))
    moments = np.arange(60) * 9 + 20
    corners = fine.corners[:, moments].copy()
    corners[3] = fine.corners[3, moments - 4]
    bad = BoardDetections(corners, fine.cameras, BOARD, fine.image_sizes, np.arange(60))
    result = calibrate(bad, hold_out=False)
    (fault,) = result.time_faults
    assert (fault.camera, fault.kind) == ("cam_3", "late")
    assert fault.frames == pytest.approx(4 / 9, abs=0.05)
    assert result.verdict.level == "FAIL"
    # between two frames the corners' way is not quite straight
    assert error_mm(calibrate(bad, fix_sync=True, hold_out=False), rig) < 8


@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_a_lost_frame_is_named_and_mended(kind):
    poses = waved(BOARD, 60) if kind == "video" else None
    rig, _, seen, _ = scene(0, poses=poses)
    camera, at = (2, 25) if kind == "video" else (1, 17)
    corners = seen.corners.copy()
    corners[camera, at:-1] = seen.corners[camera, at + 1 :]
    corners[camera, -1] = np.nan
    bad = replace(seen, corners=corners)
    text = told(bad, hold_out=False)
    assert f"'cam_{camera}' lost 1 frame" in text
    mended = calibrate(bad, fix_sync=True, hold_out=False)
    fault = mended.fixed_faults[0]
    assert fault.last < at <= fault.frame + 1
    assert within_stated(mended, rig)


@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_a_knocked_camera_is_named_with_when_and_how_far(kind):
    poses = waved(BOARD, 60) if kind == "video" else None
    rig, poses, seen, rng = scene(0, poses=poses)
    camera = rig["cam_2"]
    knocked = Camera("cam_2", camera.intrinsics, camera.rvec, camera.tvec + [30.0, 0, 0])
    moved = CameraRig(tuple(knocked if each.name == "cam_2" else each for each in rig))
    after = simulate_detections(moved, BOARD, poses, noise_px=NOISE, rng=rng)
    corners = seen.corners.copy()
    corners[2, 25:] = after.corners[2, 25:]
    bad = replace(seen, corners=corners)
    result = calibrate(bad, hold_out=False)
    assert result.verdict.level == "FAIL"
    (fault,) = result.time_faults
    assert (fault.camera, fault.kind) == ("cam_2", "moved")
    assert fault.last < 25 <= fault.frame
    assert fault.distance == pytest.approx(30, abs=3)
    mended = calibrate(bad, fix_sync=True, hold_out=False)
    right = rig if (seen.n_seen[2, :25] > 0).sum() > (seen.n_seen[2, 25:] > 0).sum() else moved
    assert within_stated(mended, right)


def test_a_wrong_square_size_is_seen_by_a_measured_distance_alone():
    rig, _, seen, _ = scene(0)
    board = replace(BOARD, square_length=200.0, marker_length=150.0)
    wrong = replace(seen, board=board)
    apart = float(np.linalg.norm(rig["cam_0"].position - rig["cam_1"].position))
    result = calibrate(wrong, distances=[("cam_0", "cam_1", apart)])
    scale = next(f.found for f in result.verdict.findings if f.name == "scale")
    assert "200 mm" in scale
    assert "'cam_0' to 'cam_1'" in scale
    assert "FAIL distances told" in findings(result, "FAIL")
    right = calibrate(seen, distances=[("cam_0", "cam_1", apart)])
    assert "distances told" not in findings(right, "WARN", "FAIL")


def test_width_and_height_exchanged_are_told_by_name():
    _, _, seen, _ = scene(0)  # the boards stay within the square that both sizes share
    text = told(replace(seen, image_sizes=seen.image_sizes[:, ::-1]))
    for camera in range(4):
        assert f"'cam_{camera}' is stated to have 1024 x 1280 pixels" in text


def test_a_size_stated_half_is_refused():
    _, _, seen, _ = scene(0)
    assert "outside its images of 640 x 512" in refusal(
        replace(seen, image_sizes=seen.image_sizes // 2)
    )


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_size_of_one_camera_is_told_by_name(factor):
    _, _, seen, _ = scene(0)
    sizes = seen.image_sizes.copy()
    sizes[1] = sizes[1] * factor
    assert "'cam_1'" in told(replace(seen, image_sizes=sizes))


def test_mirrored_pictures_fail():
    _, _, seen, _ = scene(0)
    corners = seen.corners.copy()
    corners[..., 0] = 1279 - corners[..., 0]
    assert "FAIL places" in told(replace(seen, corners=corners))
