import json
from dataclasses import replace

import numpy as np
import pytest

from calibration.cameras import Camera, CameraRig
from calibration.errors import DataError
from calibration.multiview import align_points, move_rig
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.steps.demonstration import MARKER, demo
from pose3d.synthetic.animal import SKELETON, walk
from pose3d.synthetic.arena import arena_rig
from pose3d.synthetic.judging import judge_2d, judge_3d, judge_rig

N_FRAMES = 200


@pytest.fixture
def motion(rng):
    """A rigid motion, as a 4 x 4 matrix."""
    points = rng.normal(size=(3, 3))
    moved = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = moved * np.sign(np.linalg.det(moved))
    return align_points(points, points @ moved.T + [10.0, -20.0, 300.0])


@pytest.fixture
def truth():
    """The true points in space, which all three cameras see."""
    n_points = (N_FRAMES, 1, len(SKELETON.keypoints))
    times = np.arange(N_FRAMES) / 30
    return Keypoints3D(
        xyz=walk(times)[:, np.newaxis],
        covariance=np.zeros((*n_points, 3, 3)),
        reprojection_error=np.zeros(n_points),
        view_errors=np.zeros((3, *n_points)),
        used_views=np.ones((3, *n_points), dtype=bool),
        reason=np.zeros(n_points),
        filled=np.zeros(n_points, dtype=bool),
        cameras=("cam1", "cam2", "cam3"),
        individuals=("animal",),
        keypoints=SKELETON.keypoints,
        times=times,
        units="mm",
    )


def test_a_rig_in_another_world_is_judged_perfect(motion):
    rig = arena_rig(3)
    judged = judge_rig(move_rig(rig, motion), rig, walk(np.arange(5)))
    assert max(judged.values()) < 1e-5


def test_a_camera_in_the_wrong_place_is_noticed(motion):
    rig = arena_rig(4)
    first = rig.cameras[0]
    wrong = Camera("cam1", first.intrinsics, first.rvec, first.tvec + [4.0, 0, 0])
    moved = move_rig(CameraRig((wrong, *rig.cameras[1:])), motion)
    judged = judge_rig(moved, rig, walk(np.arange(5)))
    # the three others hold the world in place, all but a part
    assert 2 < judged["position_error_mm"] < 4
    assert 0.2 < judged["calibration_error_mm"] < 4


def test_points_are_judged_by_the_cameras_world_and_their_claims(motion, truth, rng):
    rig = arena_rig(3)
    spread = np.array([1.0, 2.0, 3.0])
    there = np.ones(truth.xyz.shape[:-1], dtype=bool)
    there[:, :, 0] = False
    xyz = truth.xyz + spread * rng.normal(size=truth.xyz.shape)
    inverse = np.linalg.inv(motion)
    turn, shift = inverse[:3, :3], inverse[:3, 3]
    found = replace(
        truth,
        xyz=np.where(there[..., np.newaxis], xyz @ turn.T + shift, np.nan),
        covariance=np.broadcast_to(turn @ np.diag(spread**2) @ turn.T, truth.covariance.shape),
        reason=np.where(there, 0, 1),
    )
    judged = judge_3d(
        found, truth, np.arange(0, N_FRAMES, 2), rig=move_rig(rig, inverse), true_rig=rig
    )
    assert judged["present"] == pytest.approx(15 / 16)
    assert judged["visible_present"] == pytest.approx(15 / 16)
    assert judged["inside_claimed"] == pytest.approx(0.95, abs=0.02)
    assert judged["median_claimed_mm"] == pytest.approx(np.sqrt(14))
    errors = np.linalg.norm(xyz - truth.xyz, axis=-1)[::2, :, 1:]
    assert judged["median_error_mm"] == pytest.approx(np.median(errors))


def test_image_points_are_judged_where_they_are_visible(truth, rng):
    rig = arena_rig(3)
    xy = rig.project(truth.xyz)
    visible = rng.uniform(size=xy.shape[:-1]) < 0.7
    names = {
        "cameras": rig.names,
        "individuals": ("animal",),
        "keypoints": SKELETON.keypoints,
        "times": truth.times,
    }
    real = Keypoints2D(xy=xy, likelihood=visible, **names)
    off = np.where(visible[..., np.newaxis], [3.0, 4.0], [300.0, 400.0])
    likelihood = np.where(visible, 0.9, 0.1)
    found = Keypoints2D(xy=xy + off, likelihood=likelihood, **names)
    judged = judge_2d(found, real, np.arange(10), min_likelihood=0.6)
    assert judged == pytest.approx(
        {"median_error_px": 5.0, "p95_error_px": 5.0, "found": 1.0, "hidden_found": 0.0}
    )


def test_a_folder_that_is_no_demo_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataError, match="not a demo's"):
        demo(tmp_path, open_browser=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_demo_with_other_settings_is_left_alone(tmp_path):
    marker = json.dumps({"asked": {"n_cameras": 7}, "seconds": {"render": 1.0}})
    (tmp_path / MARKER).write_text(marker, encoding="utf-8")
    with pytest.raises(DataError, match="other settings \\(n_cameras 7\\)"):
        demo(tmp_path, open_browser=False)
    assert (tmp_path / MARKER).read_text(encoding="utf-8") == marker


def test_impossible_settings_are_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="n_cameras is 1"):
        demo(tmp_path / "demo", n_cameras=1)
    with pytest.raises(ValueError, match="n_labeled is 30; expected 4 to 20"):
        demo(tmp_path / "demo", n_frames=40, n_labeled=30)
    assert not (tmp_path / "demo").exists()


# a network that has hardly learnt anything finds points that contradict each other, or none
@pytest.mark.filterwarnings("ignore::calibration.errors.DataWarning")
@pytest.mark.slow
def test_the_whole_job_is_done_and_judged(tmp_path, capfd):
    options = {"n_cameras": 3, "n_frames": 24, "n_labeled": 4, "train_steps": 30}
    outcome = demo(tmp_path / "demo", **options, open_browser=False)
    rig = outcome.figures["calibration"]
    assert rig["position_error_mm"] < 1
    assert rig["calibration_error_mm"] < 0.5
    assert rig["held_out_rms_px"] < 0.3
    assert 0 < outcome.figures["points_2d"]["median_error_px"] < 300  # 30 steps teach nothing
    assert 0 <= outcome.figures["points_3d"]["present"] <= 1
    assert outcome.path.suffix == ".html"
    assert outcome.path.stat().st_size > 100_000
    steps = list(outcome.figures["seconds"])
    assert [row["step"] for row in outcome.table] == [*steps, "all"]
    assert "[6/10] train-network\n" in capfd.readouterr().err

    again = demo(tmp_path / "demo", **options, open_browser=False)
    assert "[6/10] train-network, done before\n" in capfd.readouterr().err
    assert again.figures["points_2d"] == outcome.figures["points_2d"]
    trained = outcome.figures["seconds"]["train-network"]
    assert again.figures["seconds"]["train-network"] == trained
