"""From the 2D keypoints of a project to its 3D, by the public steps."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.cameras import CameraRig
from calibration.errors import DataError, DataWarning
from calibration.formats.boards import load_board, save_board
from calibration.formats.detections import save_detections
from calibration.formats.toml import load_rig, save_rig
from calibration.images import write_image
from calibration.multiview import move_rig
from calibration.synthetic import moving_board, ring_rig, simulate_detections
from pose3d.formats.keypoints import (
    load_keypoints_2d,
    load_keypoints_3d,
    read_origin,
    save_keypoints_2d,
)
from pose3d.formats.trc import load_trc
from pose3d.keypoints import Keypoints2D
from pose3d.project import Project
from pose3d.steps import triangulating
from pose3d.steps.checking import check_recording, sync_recording
from pose3d.steps.exchange import export_keypoints
from pose3d.steps.projects import add_recording, create_project
from pose3d.steps.reconstruction import calibrate_rig
from pose3d.steps.refining import filter_keypoints, refine_trajectory
from pose3d.steps.triangulating import triangulate_recording
from pose3d.timeshift import shift_times

KEYPOINTS = ("nose", "tail")


@pytest.fixture
def rig(rng):
    return ring_rig(3, image_size=(64, 48), focal=50.0, rng=rng)


@pytest.fixture
def points(rng):
    return rng.uniform(-100, 100, size=(20, 1, 2, 3))


@pytest.fixture
def project(tmp_path, rig, points, rng):
    """A project with a calibration and the 2D keypoints of one recording."""
    folder = tmp_path / "project"
    create_project(folder, cameras=list(rig.names), keypoints=list(KEYPOINTS))
    for name in rig.names:
        for i in range(2):
            image = rng.integers(0, 255, size=(48, 64, 3), dtype=np.uint8)
            path = tmp_path / "videos" / name / f"img{i:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, image)
    add_recording(folder, "trot", [str(tmp_path / "videos")])
    xy = rig.project(points) + rng.normal(scale=0.05, size=(3, 20, 1, 2, 2))
    seen = Keypoints2D(
        xy=xy,
        likelihood=np.full(xy.shape[:-1], 0.9),
        cameras=rig.names,
        individuals=("animal",),
        keypoints=KEYPOINTS,
        times=np.arange(20) / 50,
        image_sizes=[(64, 48)] * 3,
    )
    loaded = Project.load(folder)
    save_keypoints_2d(loaded.keypoints_2d_path("trot"), seen)
    save_rig(rig, loaded.calibration_path("trot"))
    return folder


def test_a_recording_becomes_points_in_space(project, points):
    outcome = triangulate_recording(project, "trot")
    found = load_keypoints_3d(outcome.path)
    assert outcome.path == project.resolve() / "keypoints-3d" / "trot.h5"
    assert np.median(np.linalg.norm(found.xyz - points, axis=-1)) < 2
    assert outcome.figures["share_present"] == 1
    assert [row["keypoint"] for row in outcome.table] == ["nose", "tail"]
    assert outcome.table[0]["views"] == 3
    assert 0 < outcome.table[0]["spread mm"] < 4
    assert 0 < outcome.figures["median_reprojection_px"] < 0.2
    assert not outcome.failed
    origin = read_origin(outcome.path)
    assert origin["step"] == "triangulate_recording"
    assert origin["arguments"]["min_likelihood"] == 0.6
    assert set(origin["inputs"]) == {"keypoints", "calibration"}


def test_the_cutoff_is_the_projects_unless_told(project):
    config = project / "config.yaml"
    config.write_text(
        config.read_text(encoding="utf-8").replace("pcutoff: 0.6", "pcutoff: 0.95"),
        encoding="utf-8",
    )
    outcome = triangulate_recording(project, "trot")
    assert outcome.figures["share_present"] == 0
    assert outcome.figures["missing"]["not_seen"] == 40
    assert "No keypoint of 'trot'" in outcome.failed
    assert "40 not seen" in outcome.failed
    assert not triangulate_recording(project, "trot", min_likelihood=0.5).failed


def test_points_are_in_the_projects_unit(project, rig, points):
    scale = np.diag([1e-3, 1e-3, 1e-3, 1.0])
    metres = CameraRig(move_rig(rig, scale).cameras, "m")
    save_rig(metres, project / "metres.toml")
    found = load_keypoints_3d(
        triangulate_recording(project, "trot", calibration=project / "metres.toml")
    )
    assert found.units == "mm"
    assert np.median(np.linalg.norm(found.xyz - points, axis=-1)) < 2


def test_a_recordings_own_calibration_wins(project, rig):
    (project / "calibrations").mkdir()
    motion = np.eye(4)
    motion[:3, 3] = [5000, 0, 0]
    save_rig(move_rig(rig, motion), project / "calibrations" / "trot.toml")
    found = load_keypoints_3d(triangulate_recording(project, "trot"))
    assert np.median(found.xyz[..., 0]) > 4000


def test_copied_cameras_are_refused_until_told(project, rig):
    copied = replace(rig.cameras[1], name="cam_2")
    save_rig(CameraRig((*rig.cameras[:2], copied)), project / "calibration.toml")
    with (
        pytest.warns(DataWarning, match="'cam_1' and 'cam_2' stand at the same place"),
        pytest.raises(DataError, match=r"'cam_1' and 'cam_2' .*--cameras cam_0,cam_1.*--trust-cal"),
    ):
        triangulate_recording(project, "trot")
    with pytest.warns(DataWarning, match="stand at the same place"):
        outcome = triangulate_recording(project, "trot", cameras=["cam_0", "cam_1"])
    assert load_keypoints_3d(outcome).cameras == ("cam_0", "cam_1")
    assert outcome.figures["share_present"] == 1
    with pytest.warns(DataWarning):
        assert triangulate_recording(project, "trot", trust_calibration=True).path.is_file()


def test_a_calibration_that_failed_is_refused_until_told(project):
    path = project / "calibration.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("[metadata]\n", '[metadata]\nverdict = "FAIL"\n'), encoding="utf-8"
    )
    with pytest.raises(DataError, match="verdict FAIL.*calibrate again.*--trust-calibration"):
        triangulate_recording(project, "trot")
    assert not triangulate_recording(project, "trot", trust_calibration=True).failed


def test_what_is_not_there_is_named_with_the_step_that_makes_it(project, rig):
    with pytest.raises(DataError, match="no recording 'trott'. Did you mean 'trot'"):
        triangulate_recording(project, "trott")
    with pytest.raises(DataError, match="no camera 'back'; it has cam_0, cam_1, cam_2"):
        triangulate_recording(project, "trot", cameras=["back", "cam_0"])
    with pytest.raises(FileNotFoundError, match="triangulate-recording"):
        export_keypoints(project, "trot")
    save_rig(rig.subset(["cam_0", "cam_2"]), project / "calibration.toml")
    with pytest.raises(DataError, match=r"camera 'cam_1' that .*--cameras cam_0,cam_2"):
        triangulate_recording(project, "trot")
    (project / "calibration.toml").unlink()
    with pytest.raises(FileNotFoundError, match="calibrate-rig"):
        triangulate_recording(project, "trot")
    shutil.rmtree(project / "keypoints-2d")
    with pytest.raises(FileNotFoundError, match="analyze-recording"):
        triangulate_recording(project, "trot")


@pytest.fixture
def boards(tmp_path, rng):
    """Three cameras' detections of a moving board, their rig, and board.toml."""
    rig = ring_rig(3, rng=rng)
    board = CharucoBoard(
        squares_x=6, squares_y=5, square_length=30.0, marker_length=22.0, dictionary="DICT_4X4_50"
    )
    poses = moving_board(board, 40, rng=rng)
    save_board(board, tmp_path / "board.toml")
    detections = simulate_detections(rig, board, poses, noise_px=0.1, rng=rng)
    save_detections(detections, tmp_path / "boards.h5")
    return tmp_path / "boards.h5", rig, tmp_path / "board.toml"


@pytest.fixture
def board_project(tmp_path, boards):
    """A project that knows its board."""
    folder = tmp_path / "boards project"
    create_project(folder, cameras=list(boards[1].names), keypoints=["nose"], board=boards[2])
    return folder.resolve()


def test_a_project_supplies_what_a_calibration_needs(board_project, boards):
    detections, rig, _ = boards
    outcome = calibrate_rig(board_project, board_videos=detections)
    assert not outcome.failed
    assert outcome.path == board_project / "reports" / "_calibration.html"
    assert outcome.path.is_file()
    found = load_rig(board_project / "calibration.toml")
    assert found.names == rig.names
    spans = [np.linalg.norm(r.cameras[0].position - r.cameras[2].position) for r in (found, rig)]
    assert spans[0] == pytest.approx(spans[1], abs=1)
    assert load_board(board_project / "calibration.board.toml").squares_x == 6


def test_a_recording_can_have_its_own_calibration(board_project, boards, tmp_path, rng):
    for name in boards[1].names:
        write_image(tmp_path / "take" / name / "img00000.png", np.zeros((48, 64, 3), np.uint8))
    add_recording(board_project, "trot", [str(tmp_path / "take")])
    outcome = calibrate_rig(board_project, board_videos=boards[0], recording="trot")
    assert outcome.path.name == "_calibration_trot.html"
    assert Project.load(board_project).calibration_path("trot").name == "trot.toml"
    assert not (board_project / "calibration.toml").exists()


def test_without_a_project_the_board_is_asked_for(boards, tmp_path):
    detections, _, board = boards
    with pytest.raises(ValueError, match="Which board is it"):
        calibrate_rig(detections, out=tmp_path / "rig.toml")
    with pytest.raises(ValueError, match="recording is for projects"):
        calibrate_rig(detections, board=board, recording="trot")
    calibrate_rig(detections, board=board, out=tmp_path / "rig.toml")
    assert load_rig(tmp_path / "rig.toml").names == boards[1].names


def test_a_project_that_says_too_little_is_told_what_to_add(board_project, tmp_path):
    with pytest.raises(DataError, match="calibration_videos.*--board-videos"):
        calibrate_rig(board_project)
    with pytest.raises(DataError, match="no recording 'trot'"):
        calibrate_rig(board_project, board_videos=tmp_path, recording="trot")
    create_project(tmp_path / "bare", cameras=["a", "b"], keypoints=["nose"])
    with pytest.raises(DataError, match="describes no board"):
        calibrate_rig(tmp_path / "bare", board_videos=tmp_path)


def test_points_are_exported(project):
    found = load_keypoints_3d(triangulate_recording(project, "trot"))
    trc = export_keypoints(project, "trot", format="trc")
    assert trc.path == project.resolve() / "exports" / "trot.trc"
    np.testing.assert_array_equal(load_trc(trc).xyz, found.xyz[:, 0])
    with pytest.raises(FileExistsError, match="--overwrite"):
        export_keypoints(project, "trot", format="trc")
    assert export_keypoints(project, "trot", format="trc", overwrite=True).path.is_file()
    table = export_keypoints(project, "trot", format="anipose", out=project / "a.csv")
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[3]["tail_score"]) == 0.9
    assert export_keypoints(project, "trot").path.name == "trot.csv"
    with pytest.raises(ValueError, match="format is 'c3d'; expected one of csv, anipose, trc"):
        export_keypoints(project, "trot", format="c3d")


def test_paths_are_refined_and_taken_by_the_exports(project, points):
    triangulate_recording(project, "trot")
    outcome = refine_trajectory(project, "trot", limbs="none")
    assert outcome.path == project.resolve() / "keypoints-3d" / "trot.refined.h5"
    path = load_keypoints_3d(outcome.path)
    assert outcome.figures["share_present"] == 1
    assert read_origin(outcome.path)["step"] == "refine_trajectory"
    exported = export_keypoints(project, "trot")
    assert "trot.refined.h5" in exported.summary
    assert path.rig_covariance is None
    (project / "keypoints-3d" / "trot.h5").unlink()
    with pytest.raises(FileNotFoundError, match="triangulate-recording"):
        refine_trajectory(project, "trot")


def test_filtered_keypoints_are_triangulated_when_told(project, points):
    with pytest.raises(FileNotFoundError, match="filter-keypoints"):
        triangulate_recording(project, "trot", filtered=True)
    outcome = filter_keypoints(project, "trot", method="savgol")
    assert outcome.path.name == "trot.filtered.h5"
    assert [row["camera"] for row in outcome.table] == list(load_keypoints_2d(outcome.path).cameras)
    found = triangulate_recording(project, "trot", filtered=True)
    assert read_origin(found.path)["inputs"]["keypoints"]["path"].endswith("trot.filtered.h5")
    raw = str(project / "keypoints-2d" / "trot.h5")
    together = filter_keypoints(project, "trot", method="ensemble", networks=[raw, raw])
    assert together.figures["median_moved_px"] == 0
    with pytest.raises(ValueError, match="two networks or more"):
        filter_keypoints(project, "trot", method="ensemble")
    with pytest.raises(ValueError, match="method is 'kalman'"):
        filter_keypoints(project, "trot", method="kalman")


def test_a_recording_is_triangulated_in_parts_to_the_same_points(project, monkeypatch):
    whole = load_keypoints_3d(triangulate_recording(project, "trot").path)
    monkeypatch.setattr(triangulating, "_POINTS", 6 * 7)
    outcome = triangulate_recording(project, "trot")
    parts = load_keypoints_3d(outcome.path)
    assert outcome.figures["n_frames"] == 20
    np.testing.assert_allclose(parts.xyz, whole.xyz, atol=0.05)
    np.testing.assert_array_equal(parts.used_views, whole.used_views)
    np.testing.assert_array_equal(parts.times, whole.times)


@pytest.fixture
def walking(project, rig, rng):
    """The project with a longer recording, in which one camera is late by 2.3 frames."""
    at = np.arange(300) / 50
    wave = rng.normal(size=(4, 2, 3)) * 60
    speed = rng.uniform(0.5, 2, size=(4, 2, 3))

    def place(time):
        return (wave * np.sin(2 * np.pi * speed * time[:, None, None, None])).sum(axis=1)

    xy = np.stack(
        [c.project(place(at - late / 50)) for c, late in zip(rig, (0, 2.3, 0), strict=True)]
    )
    xy = (xy + rng.normal(scale=0.05, size=xy.shape))[:, :, np.newaxis]
    names = (rig.names, ("animal",), KEYPOINTS)
    seen = Keypoints2D(xy, np.full(xy.shape[:-1], 0.9), *names, at, image_sizes=[(64, 48)] * 3)
    save_keypoints_2d(Project.load(project).keypoints_2d_path("trot"), seen)
    return project, place(at)


def test_lateness_is_stored_and_applied(walking):
    project, places = walking
    late = load_keypoints_3d(triangulate_recording(project, "trot").path)
    outcome = sync_recording(project, "trot")
    name = load_keypoints_3d(triangulate_recording(project, "trot").path).cameras[1]
    assert outcome.figures["offsets"][name] == pytest.approx(2.3 / 50, abs=0.002)
    assert Project.load(project).recording("trot").offsets[1] == pytest.approx(0.046, abs=0.002)
    found = load_keypoints_3d(triangulate_recording(project, "trot").path)
    before = np.nanmedian(np.linalg.norm(late.xyz[:, 0] - places, axis=-1))
    after = np.nanmedian(np.linalg.norm(found.xyz[:, 0] - places, axis=-1))
    assert after < 0.6 * before
    filter_keypoints(project, "trot", window=3)
    smooth = load_keypoints_3d(triangulate_recording(project, "trot", filtered=True).path)
    assert np.nanmedian(np.linalg.norm(smooth.xyz[:, 0] - places, axis=-1)) < 0.8 * before
    again = sync_recording(project, "trot", dry_run=True)
    assert again.figures["offsets"][name] == pytest.approx(2.3 / 50, abs=0.002)


def test_a_recording_is_checked_against_its_calibration(walking, monkeypatch):
    project, _ = walking
    outcome = check_recording(project, "trot")
    assert outcome.figures["verdict"] == "WARN"
    assert "sync-recording" in outcome.summary
    path = Project.load(project).keypoints_2d_path("trot")
    seen = load_keypoints_2d(path)
    save_keypoints_2d(path, replace(seen, xy=seen.xy / 2, image_sizes=None))
    monkeypatch.setattr("pose3d.mixups.COARSE", 1.0)  # the images are 64 px wide
    with pytest.raises(DataError, match="half the size"):
        triangulate_recording(project, "trot")
    with pytest.warns(DataWarning, match="do not agree"):
        triangulate_recording(project, "trot", trust_calibration=True)
    assert "half the size" in check_recording(project, "trot").failed


def test_lateness_that_was_applied_when_frames_were_matched_is_not_applied_twice(walking):
    project, places = walking
    path = Project.load(project).keypoints_2d_path("trot")
    name = load_keypoints_2d(path).cameras[1]
    sync_recording(project, "trot")
    right = load_keypoints_3d(triangulate_recording(project, "trot").path)
    seen = shift_times(load_keypoints_2d(path), np.array([0, 2 / 50, 0]))
    save_keypoints_2d(path, seen, {"step": "analyze", "applied_offsets": {name: 2 / 50}})
    for filtered in (False, True):
        if filtered:
            filter_keypoints(project, "trot", method="savgol", window=3)
        found = load_keypoints_3d(triangulate_recording(project, "trot", filtered=filtered).path)
        apart = np.linalg.norm(found.xyz - right.xyz, axis=-1)
        assert np.nanmedian(apart) < 1.0
