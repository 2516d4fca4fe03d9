"""Cameras placed by labels, where there is no calibration."""

import json

import numpy as np
import pytest

from calibration.cameras import CameraRig
from calibration.errors import CalibrationError, DataError
from calibration.formats.toml import load_rig, save_rig
from calibration.synthetic import ring_rig
from calibration.video import write_image
from pose3d.labeling.calibrating import calibrate_from_labels, lens_files
from pose3d.labeling.content import RecordingContent
from pose3d.labeling.session import LabelSession
from pose3d.project import Project

CONFIG = """\
Task: reaching
scorer: Ada
bodyparts: [nose, ear, hip, foot, tail, tip]
skeleton: [[nose, ear]]
pose3d:
  cameras: [{cameras}]
  recordings: {{trot: {{{videos}}}}}
"""
SIZE, N = (640, 480), 8
KEYPOINTS = ("nose", "ear", "hip", "foot", "tail", "tip")


@pytest.fixture(scope="module")
def rig():
    return ring_rig(3, image_size=SIZE, radius=400, focal=600)


@pytest.fixture
def content(tmp_path, rig, rng):
    """A recording without calibration, with clicks 0.5 px off on an animal that walks about."""
    config = CONFIG.format(
        cameras=", ".join(rig.names), videos=", ".join(f"{name}: {name}.mp4" for name in rig.names)
    )
    (tmp_path / "config.yaml").write_text(config)
    blank = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for name in rig.names:
        for moment in range(N):
            image = tmp_path / "labeled-data" / f"trot_{name}" / f"img{moment:05d}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            write_image(image, blank)
    body = rng.uniform(-40, 40, (len(KEYPOINTS), 3))
    body[1] = body[0] + [0, 30, 0]
    xyz = body + rng.uniform(-90, 90, (N, 1, 3))
    seen = rig.project(xyz) + rng.normal(0, 0.5, (len(rig), N, len(KEYPOINTS), 2))
    content = RecordingContent(LabelSession(Project.load(tmp_path), "trot"))
    content.session.change(
        [
            {
                "camera": camera,
                "image": f"img{moment:05d}.png",
                "individual": "animal",
                "keypoint": keypoint,
                "before": None,
                "after": {"state": "clicked", "xy": seen[c, moment, k].tolist()},
            }
            for c, camera in enumerate(rig.names)
            for moment in range(N)
            for k, keypoint in enumerate(KEYPOINTS)
        ]
    )
    yield content
    content.session.close()


def distances(rig):
    places = np.array([camera.position for camera in rig])
    return np.linalg.norm(places - places[:, np.newaxis], axis=-1)


def test_labels_place_cameras_whose_focal_length_is_not_known(content, rig):
    assert content.rig is None
    assert content.recording()["places_cameras"]
    told = calibrate_from_labels(content, length=30.0, bone=["nose", "ear"])
    assert told["verdict"] == "WARN"
    assert told["sigma_px"] < 0.8
    assert told["focal_px"] == pytest.approx(600, rel=0.1)
    assert "film a board" in told["said"][-1]
    assert told["path"] == "calibrations/trot.toml"
    # the page has it at once, and the file says what it is worth
    assert content.rig.names == rig.names
    assert not content.recording()["places_cameras"]
    np.testing.assert_allclose(distances(content.rig), distances(rig), rtol=0.1, atol=1e-6)
    saved = content.project.calibration_path("trot")
    assert load_rig(saved).names == rig.names
    assert 'verdict = "WARN"' in saved.read_text()
    with pytest.raises(DataError, match="is there already"):
        calibrate_from_labels(content, length=30.0, bone=["nose", "ear"])


def test_lenses_of_another_calibration_are_taken(content, rig):
    root = content.project.path
    save_rig(rig, root / "calibrations" / "other.toml")
    save_rig(CameraRig(rig.cameras[:2]), root / "two.toml")  # lacks a camera
    (root / "notes.toml").write_text("a = 1\n")
    assert lens_files(content) == ["calibrations/other.toml"]
    apart = float(distances(rig)[0, 1])
    told = calibrate_from_labels(
        content, length=apart, cameras=rig.names[:2], lenses="calibrations/other.toml"
    )
    assert told["verdict"] in ("PASS", "WARN")
    assert told["focal_px"] is None
    np.testing.assert_allclose(distances(content.rig), distances(rig), rtol=0.02, atol=1e-6)


def test_too_few_labels_and_wrong_questions_are_refused_in_words(content, rig):
    with pytest.raises(ValueError, match="expected two keypoints"):
        calibrate_from_labels(content, length=1.0, bone=["nose", "nosee"])
    with pytest.raises(ValueError, match="expected two of cam"):
        calibrate_from_labels(content, length=1.0, cameras=["nose", "ear"])
    with pytest.raises(ValueError, match="Give one known length"):
        calibrate_from_labels(content, length=1.0)
    with pytest.raises(ValueError, match="expected a number above 0"):
        calibrate_from_labels(content, length=None, bone=["nose", "ear"])
    with pytest.raises(DataError, match="does not lie in the project"):
        calibrate_from_labels(content, length=1.0, bone=["nose", "ear"], lenses="../../other.toml")
    for folder in content.session.folders.values():
        folder.state[1:] = 0
    with pytest.raises(CalibrationError, match="cam_0"):
        calibrate_from_labels(content, length=1.0, cameras=rig.names[:2])
    assert not (content.project.path / "calibrations").exists()
    assert json.dumps(content.status())
