"""Keypoints of other programs: what goes out comes back, and what does not fit is named."""

import json

import numpy as np
import pytest

from calibration.errors import DataError, DataWarning
from calibration.images import write_image
from calibration.synthetic import ring_rig
from pose3d.formats.deeplabcut import load_predictions
from pose3d.formats.deeplabcut_tables import save_predictions
from pose3d.formats.json_poses import BODY_25, BODY_25B, load_coco, load_openpose, save_openpose
from pose3d.formats.keypoints import load_keypoints_2d
from pose3d.keypoints import Keypoints2D
from pose3d.project import Project
from pose3d.steps.importing import import_keypoints
from pose3d.steps.projects import add_recording, create_project

NAMES = ("nose", "tail", "paw")
CAMERAS = ("left", "top")


@pytest.fixture
def seen(rng):
    rig = ring_rig(2, rng=rng)
    points = rng.uniform(-100, 100, size=(12, 1, 3, 3))
    xy = rig.project(points)
    xy[0, 3, 0, 1] = np.nan
    likelihood = rng.uniform(0.5, 1, size=xy.shape[:-1])
    likelihood[0, 3, 0, 1] = 0
    return Keypoints2D(xy, likelihood, CAMERAS, ("animal",), NAMES, np.arange(12) / 30)


@pytest.fixture
def project(tmp_path, rng):
    folder = tmp_path / "project"
    create_project(folder, cameras=list(CAMERAS), keypoints=list(NAMES))
    for name in CAMERAS:
        for i in range(12):
            path = tmp_path / "videos" / name / f"img{i:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, rng.integers(0, 255, size=(48, 64, 3), dtype=np.uint8))
    add_recording(folder, "trot", [str(tmp_path / "videos")])
    return folder


@pytest.mark.parametrize("ending", [".csv", ".h5"])
def test_deeplabcuts_predictions_come_back(seen, ending, tmp_path):
    path = tmp_path / f"trot_top{ending}"
    save_predictions(path, seen, "top")
    back = load_predictions(path, camera="top", fps=30)
    np.testing.assert_allclose(back.xy, seen.xy[1:])
    np.testing.assert_allclose(back.likelihood, seen.likelihood[1:])
    assert back.keypoints == NAMES


def test_openpose_comes_back(seen, tmp_path):
    save_openpose(tmp_path / "left", seen, "left")
    back = load_openpose(tmp_path / "left", camera="left", fps=30, names=NAMES)
    np.testing.assert_allclose(back.xy, seen.xy[:1])
    np.testing.assert_allclose(back.likelihood, seen.likelihood[:1])
    (tmp_path / "left" / "left_000000000004_keypoints.json").write_text("{")
    with pytest.raises(DataError, match="000000000004"):
        load_openpose(tmp_path / "left", camera="left", fps=30)
    with pytest.raises(FileNotFoundError, match="right"):
        load_openpose(tmp_path / "right", camera="left", fps=30)


def test_coco_counts_from_the_corner_of_a_picture(tmp_path):
    content = {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 64, "height": 48},
            {"id": 3, "file_name": "a.png", "width": 64, "height": 48},
        ],
        "categories": [{"id": 1, "keypoints": list(NAMES)}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "keypoints": [10.5, 20.5, 2, 5.5, 6.5, 1, 0, 0, 0]}
        ],
    }
    path = tmp_path / "top.json"
    path.write_text(json.dumps(content))
    found = load_coco(path, camera="top", fps=30)
    assert found.xy.shape == (1, 2, 1, 3, 2)
    np.testing.assert_array_equal(found.xy[0, 1, 0, 0], [10, 20])
    np.testing.assert_array_equal(found.likelihood[0, 1, 0], [1, 0.5, 0])
    assert np.isnan(found.xy[0, 0]).all()
    content["annotations"][0]["keypoints"] = [1, 2]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="COCO"):
        load_coco(path, camera="top", fps=30)


def test_files_become_the_keypoints_of_a_recording(project, seen, tmp_path):
    save_predictions(tmp_path / "trot_left.csv", seen, "left")
    save_predictions(tmp_path / "strange.h5", seen, "top")
    files = [str(tmp_path / "trot_left.csv"), f"top={tmp_path / 'strange.h5'}"]
    outcome = import_keypoints(project, "trot", files)
    back = load_keypoints_2d(outcome.path)
    assert back.cameras == CAMERAS
    np.testing.assert_allclose(back.xy, seen.xy)
    np.testing.assert_array_equal(back.image_sizes, [(64, 48)] * 2)
    with pytest.raises(FileExistsError, match="overwrite"):
        import_keypoints(project, "trot", files)
    with pytest.raises(ValueError, match="CAMERA=FILE"):
        import_keypoints(project, "trot", [str(tmp_path / "strange.h5")], overwrite=True)


def test_a_folder_that_holds_a_file_for_each_camera_is_opened(project, seen, tmp_path):
    for camera in CAMERAS:
        save_predictions(tmp_path / "all of it" / f"trot_{camera}.csv", seen, camera)
    import_keypoints(project, "trot", [str(tmp_path / "all of it")])
    back = load_keypoints_2d(project / "keypoints-2d" / "trot.h5")
    np.testing.assert_allclose(back.xy, seen.xy)
    (tmp_path / "all of it" / "old_trot_top.csv").touch()
    with pytest.raises(ValueError, match="'top' has two files: .*old_trot_top.*trot_top"):
        import_keypoints(project, "trot", [str(tmp_path / "all of it")], overwrite=True)


def test_a_file_that_is_named_after_another_camera_is_told(project, seen, tmp_path):
    for camera in CAMERAS:
        save_predictions(tmp_path / f"trot_{camera}.csv", seen, camera)
    wrong = [f"left={tmp_path / 'trot_top.csv'}", f"top={tmp_path / 'trot_top.csv'}"]
    with pytest.warns(DataWarning, match=r"for camera 'left', but its name speaks of 'top'"):
        import_keypoints(project, "trot", wrong)


def test_the_only_camera_s_file_need_not_bear_its_name(tmp_path, rng):
    xy = rng.uniform(0, 40, size=(1, 12, 2, 3, 2))
    two = Keypoints2D(xy, np.ones(xy.shape[:-1]), ("top",), ("a", "b"), NAMES, np.arange(12) / 30)
    save_predictions(tmp_path / "predictions.csv", two, "top")
    create_project(tmp_path / "one", cameras=["top"], keypoints=list(NAMES))
    with pytest.warns(DataWarning, match=r"if 2 are there, name them \("):
        import_keypoints(tmp_path / "one", "trot", [str(tmp_path / "predictions.csv")], fps=30)
    create_project(
        tmp_path / "two", cameras=["top"], keypoints=list(NAMES), individuals=["Ada", "Bo"]
    )
    import_keypoints(tmp_path / "two", "trot", [str(tmp_path / "predictions.csv")], fps=30)
    back = load_keypoints_2d(tmp_path / "two" / "keypoints-2d" / "trot.h5")
    np.testing.assert_allclose(back.xy, xy)


def test_names_that_do_not_fit_are_told(project, seen, tmp_path):
    other = Keypoints2D(
        seen.xy, seen.likelihood, CAMERAS, ("animal",), ("nose", "tail", "ear"), seen.times
    )
    save_predictions(tmp_path / "left.csv", other, "left")
    with pytest.warns(DataWarning, match="unknown are ear; missing are paw"):
        outcome = import_keypoints(project, "trot", [str(tmp_path / "left.csv")])
    back = load_keypoints_2d(outcome.path)
    assert np.isnan(back.xy[..., 2, :]).all()
    strange = Keypoints2D(
        seen.xy, seen.likelihood, CAMERAS, ("animal",), ("a", "b", "c"), seen.times
    )
    save_predictions(tmp_path / "left.csv", strange, "left")
    with pytest.raises(DataError, match="none of the project's keypoints"):
        import_keypoints(project, "trot", [str(tmp_path / "left.csv")], overwrite=True)


def test_real_files_of_other_programs_are_recognised(data_folder):
    from pose3d.steps.importing import _loaded, _recognised

    fly = next((data_folder / "eks_fly_3cam").glob("*Cam-A*rng=0.csv"))
    assert _recognised(fly) == "deeplabcut"
    assert _loaded(fly, "deeplabcut", "Cam-A", 100.0).n_frames == 500
    pose = data_folder / "pose2sim_single_person" / "reference_2024" / "balancing" / "pose"
    person = next(pose.glob("cam*_json"))
    assert _recognised(person) == "openpose"
    found = _loaded(person, "openpose", "cam01", 60.0)
    assert found.keypoints == BODY_25B
    ankle, nose = (
        np.nanmedian(found.xy[0, :, 0, BODY_25B.index(k), 1]) for k in ("LAnkle", "Nose")
    )
    assert ankle > nose + 200
    assert np.isfinite(found.xy).mean() > 0.8
    mouse = next((data_folder / "sleap_anipose_minimal_session").rglob("*analysis.h5"))
    assert _recognised(mouse) == "sleap"


def test_a_recording_without_videos_is_added_where_the_frame_rate_is_told(project, seen, tmp_path):
    save_predictions(tmp_path / "left.csv", seen, "left")
    save_predictions(tmp_path / "top.csv", seen, "top")
    files = [str(tmp_path / "left.csv"), str(tmp_path / "top.csv")]
    with pytest.raises(DataError, match="give --fps"):
        import_keypoints(project, "gallop", files)
    outcome = import_keypoints(project, "gallop", files, fps=30)
    back = load_keypoints_2d(outcome.path)
    np.testing.assert_allclose(back.xy, seen.xy)
    np.testing.assert_allclose(back.times, seen.times)
    assert not Project.load(project).recording("gallop").videos


def test_models_of_25_points_are_told_apart_or_refused(tmp_path, rng):
    """The files do not say in which order the points are."""
    body = {
        "Nose": (0, -80), "Neck": (0, -60), "RShoulder": (-20, -60), "LShoulder": (20, -60),
        "RElbow": (-28, -35), "LElbow": (28, -35), "RWrist": (-30, -10), "LWrist": (30, -10),
        "MidHip": (0, 0), "RHip": (-10, 0), "LHip": (10, 0), "RKnee": (-11, 45), "LKnee": (11, 45),
        "RAnkle": (-12, 88), "LAnkle": (12, 88), "REye": (-3, -83), "LEye": (3, -83),
        "REar": (-7, -81), "LEar": (7, -81), "LBigToe": (16, 95), "LSmallToe": (20, 94),
        "LHeel": (11, 94), "RBigToe": (-16, 95), "RSmallToe": (-20, 94), "RHeel": (-11, 94),
        "UpperNeck": (0, -66), "HeadTop": (0, -96),
    }  # fmt: skip
    for model in (BODY_25, BODY_25B):
        xy = np.array([body[name] for name in model]) * 3 + 400 + rng.normal(size=(6, 25, 2))
        xy = xy[np.newaxis, :, np.newaxis]
        seen = Keypoints2D(xy, np.ones(xy.shape[:-1]), ("a",), ("p",), model, np.arange(6) / 30)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        save_openpose(folder, seen, "a")
        assert load_openpose(folder, camera="a", fps=30).keypoints == model
    wild = Keypoints2D(
        rng.uniform(0, 900, size=xy.shape), seen.likelihood, ("a",), ("p",), model, seen.times
    )
    save_openpose(tmp_path / "wild", wild, "a")
    with pytest.raises(DataError, match="--keypoints"):
        load_openpose(tmp_path / "wild", camera="a", fps=30)


def test_cameras_whose_files_begin_at_other_frames_stay_together(project, seen, tmp_path):
    save_openpose(tmp_path / "left", seen, "left")
    save_openpose(tmp_path / "top", seen, "top")
    for frame in range(4):
        (tmp_path / "top" / f"top_{frame:012d}_keypoints.json").unlink()
    files = [str(tmp_path / "left"), str(tmp_path / "top")]
    outcome = import_keypoints(project, "trot", files, keypoints=list(NAMES))
    back = load_keypoints_2d(outcome.path)
    np.testing.assert_allclose(back.xy[:, 4:], seen.xy[:, 4:])
    assert np.isnan(back.xy[1, :4]).all()


def test_pictures_without_leading_zeros_are_in_the_order_of_their_numbers(tmp_path):
    content = {
        "images": [
            {"id": i, "file_name": f"img{i}.png", "width": 64, "height": 48} for i in range(12)
        ],
        "categories": [{"id": 1, "keypoints": ["nose"]}],
        "annotations": [
            {"image_id": i, "category_id": 1, "keypoints": [i + 0.5, 1.5, 2]} for i in range(12)
        ],
    }
    path = tmp_path / "top.json"
    path.write_text(json.dumps(content))
    found = load_coco(path, camera="top", fps=30)
    np.testing.assert_array_equal(found.xy[0, :, 0, 0, 0], np.arange(12))
