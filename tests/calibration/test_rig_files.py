"""Calibration files keep everything, open in aniposelib, and are refused when they cannot be."""

import re
from dataclasses import replace

import numpy as np
import pytest

from calibration.boards import CharucoBoard
from calibration.cameras import CameraRig
from calibration.errors import DataError, DataWarning
from calibration.formats.toml import load_calibration, load_rig, read_verdict, save_rig
from calibration.solve import calibrate
from calibration.synthetic import moving_board, ring_rig, simulate_detections

BOARD = CharucoBoard(8, 11, 24.0, 18.0, "DICT_4X4_250")


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(0)
    poses = moving_board(BOARD, 20, rng=rng)
    detections = simulate_detections(ring_rig(3), BOARD, poses, noise_px=0.2, rng=rng)
    return calibrate(detections)


def same_rig(first, second):
    assert first.names == second.names
    assert first.units == second.units
    for a, b in zip(first, second, strict=True):
        assert a.intrinsics.model == b.intrinsics.model
        assert a.intrinsics.image_size == b.intrinsics.image_size
        np.testing.assert_array_equal(a.intrinsics.matrix, b.intrinsics.matrix)
        np.testing.assert_array_equal(a.intrinsics.dist, b.intrinsics.dist)
        np.testing.assert_array_equal(a.camera_from_world, b.camera_from_world)


@pytest.mark.parametrize("model", ["pinhole", "brown", "rational", "fisheye"])
def test_a_rig_comes_back_bit_for_bit(tmp_path, model):
    rig = ring_rig(12, model=model)
    save_rig(rig, tmp_path / "calibration.toml")
    same_rig(load_rig(tmp_path / "calibration.toml"), rig)


def test_a_calibration_comes_back_with_its_evidence(tmp_path, calibration):
    path = tmp_path / "calibration.toml"
    save_rig(calibration, path, {"step": "test"})
    same_rig(load_rig(path), calibration.rig)
    np.testing.assert_array_equal(load_rig(path).covariance, calibration.rig.covariance)
    loaded = load_calibration(path)
    np.testing.assert_array_equal(loaded.residuals, calibration.residuals)
    np.testing.assert_array_equal(loaded.board_poses, calibration.board_poses)
    assert loaded.verdict == calibration.verdict
    assert loaded.detections.board == BOARD
    assert loaded.held_out_rms_px == calibration.held_out_rms_px
    assert read_verdict(path) == calibration.verdict.level


def test_the_covariance_of_another_rig_is_not_taken(tmp_path, calibration):
    path = tmp_path / "calibration.toml"
    save_rig(calibration, path)
    beside = path.with_suffix(".covariance.h5").read_bytes()
    save_rig(ring_rig(3), path)
    path.with_suffix(".covariance.h5").write_bytes(beside)
    assert load_rig(path).covariance is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_aniposelib_loads_our_files_and_sees_the_same(tmp_path, rng):
    from aniposelib.cameras import CameraGroup

    points = rng.uniform(-100, 100, size=(20, 3))
    for model in ("pinhole", "brown", "rational", "fisheye"):
        rig = ring_rig(12, model=model)
        save_rig(rig, tmp_path / "calibration.toml")
        group = CameraGroup.load(str(tmp_path / "calibration.toml"))
        assert tuple(group.get_names()) == rig.names
        seen = np.asarray(group.project(points)).reshape(12, 20, 2)
        np.testing.assert_allclose(seen, rig.project(points), atol=1e-9)


def test_the_sources_copied_camera_is_named(data_folder):
    with pytest.warns(DataWarning) as told:
        load_rig(data_folder / "sleap_anipose_minimal_session" / "calibration.toml", units="mm")
    (message,) = [str(warning.message) for warning in told]
    assert "'side'" in message
    assert "'top'" in message


def test_files_of_aniposelib_and_pose2sim_are_read(data_folder):
    anipose = "sleap_anipose_minimal_session/derived/recalibrated_aniposelib.toml"
    with pytest.warns(DataWarning, match="taken as mm"):
        assert load_rig(data_folder / anipose).names == ("back", "mid", "side", "top")
    pose2sim = "pose2sim_single_person/reference_2024/Calib_qualisys.toml"
    with pytest.warns(DataWarning, match="taken as m,"):
        rig = load_rig(data_folder / pose2sim)
    assert len(rig) == 4
    assert rig.units == "m"


def test_an_edited_file_is_noticed(tmp_path):
    path = tmp_path / "calibration.toml"
    save_rig(ring_rig(2), path)
    path.write_text(path.read_text().replace("1280", "1281"))
    with pytest.warns(DataWarning, match="edited"):
        load_rig(path)


def test_a_file_cut_at_any_line_never_loads_as_a_smaller_rig(tmp_path):
    path = tmp_path / "calibration.toml"
    rig = ring_rig(3)
    save_rig(rig, path)
    whole = path.read_text()
    for end in [match.start() for match in re.finditer("\n", whole)][:-1]:
        path.write_text(whole[:end])
        if "translation" in whole[end:]:
            with pytest.raises(DataError, match=re.escape(str(path))):
                load_rig(path)
        else:  # all that is lost is our word for the lens, which its coefficients tell
            same_rig(load_rig(path), rig)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"rotation = .*", "", "section cam_00: there is no 'rotation'"),
        (r"matrix = \[\[[^,]*", "matrix = [[0.0", "'cam_0'.*focal"),
        (r"matrix = \[\[[^,]*", "matrix = [[nan", "'cam_0'.*matrix"),
        (r"translation = .*", "translation = [1.0, 2.0]", "'cam_0'.*tvec"),
        (r'name = "cam_0"', 'name = "cam_1"', "twice"),
        (r"n_cameras = 3", "n_cameras = 4", "holds 3 cameras; expected 4"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, old, new, message):
    path = tmp_path / "calibration.toml"
    save_rig(ring_rig(3), path)
    path.write_text(re.sub(old, new, path.read_text(), count=1))
    with pytest.raises(DataError, match=f"(?s){message}"):
        load_rig(path)


def test_an_empty_and_a_missing_file_are_told_apart(tmp_path):
    (tmp_path / "empty.toml").touch()
    with pytest.raises(DataError, match="empty"):
        load_rig(tmp_path / "empty.toml")
    with pytest.raises(FileNotFoundError, match="calibrate-rig"):
        load_rig(tmp_path / "none.toml")


def test_twelve_cameras_keep_their_order_by_name(tmp_path):
    rig = ring_rig(12)
    rig = CameraRig(tuple(replace(c, name=f"view {11 - i}") for i, c in enumerate(rig)))
    save_rig(rig, tmp_path / "calibration.toml")
    assert load_rig(tmp_path / "calibration.toml").names == rig.names
