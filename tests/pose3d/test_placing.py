"""The verb refine-rig: cameras placed anew by what the animal shows."""

import numpy as np
import pytest

from calibration.cameras import Camera, CameraRig
from calibration.formats.toml import load_rig, read_verdict, save_rig
from calibration.images import write_image
from calibration.multiview import align_rigs, move_rig
from calibration.synthetic import looking_at, ring_rig
from pose3d.formats.keypoints import load_keypoints_2d, save_keypoints_2d
from pose3d.keypoints import Keypoints2D
from pose3d.project import Project
from pose3d.steps.placing import refine_rig
from pose3d.steps.projects import add_recording, create_project

KEYPOINTS = ("nose", "neck", "tail", "left", "right")
SIZE = (320, 240)


@pytest.fixture
def truth(rng):
    return ring_rig(4, image_size=SIZE, focal=260.0, rng=rng)


def write_project(folder, rig, points, rng, noise=0.3):
    """A project with a knocked camera in its calibration and 2D keypoints of one recording."""
    create_project(folder, cameras=list(rig.names), keypoints=list(KEYPOINTS))
    for name in rig.names:
        path = folder.parent / "videos" / name / "img00000.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8))
    add_recording(folder, "trot", [str(folder.parent / "videos")])
    xy = rig.project(points)[:, :, np.newaxis]
    xy += rng.normal(scale=noise, size=xy.shape)
    likelihood = np.full(xy.shape[:-1], 0.9)
    unsure = rng.uniform(size=likelihood.shape) < 0.05
    xy[unsure] += 50.0
    likelihood[unsure] = 0.2
    seen = Keypoints2D(
        xy=xy,
        likelihood=likelihood,
        cameras=rig.names,
        individuals=("animal",),
        keypoints=KEYPOINTS,
        times=np.arange(len(points)) / 50,
        image_sizes=[SIZE] * len(rig),
    )
    loaded = Project.load(folder)
    save_keypoints_2d(loaded.keypoints_2d_path("trot"), seen)
    old = rig["cam_1"]
    knocked = looking_at("cam_1", old.intrinsics, old.position + 90.0, [30.0, 0, 0])
    save_rig(
        CameraRig(tuple(knocked if c.name == "cam_1" else c for c in rig), "mm"),
        folder / "calibration.toml",
    )
    return folder


@pytest.fixture
def project(tmp_path, truth, rng):
    t = np.linspace(0, 1, 60)[:, np.newaxis, np.newaxis]
    path = np.concatenate([180 * np.cos(5 * t), 180 * np.sin(7 * t), 120 * np.sin(11 * t)], axis=2)
    points = path + rng.uniform(-50, 50, size=(1, len(KEYPOINTS), 3))
    return write_project(tmp_path / "project", truth, points, rng)


def test_a_knocked_camera_is_placed_for_its_recording(project, truth):
    done = refine_rig(project, "trot", camera="cam_1", noise_px=1.0)
    assert done.path == project.resolve() / "calibrations/trot.toml"
    assert not done.failed
    rig = load_rig(done.path)
    assert np.linalg.norm(rig["cam_1"].position - truth["cam_1"].position) < 6.0
    np.testing.assert_array_equal(rig["cam_2"].tvec, truth["cam_2"].tvec)
    moved = {row["camera"]: row["moved mm"] for row in done.table}
    assert moved["cam_1"] == pytest.approx(np.sqrt(3) * 90, abs=6.0)
    assert moved["cam_0"] == 0
    assert Project.load(project).calibration_path("trot") == done.path
    # its own calibration is now what is read
    with pytest.raises(ValueError, match="has a calibration of its own"):
        refine_rig(project, "trot")


def test_all_places_come_from_lenses_and_one_distance(project, truth):
    apart = np.linalg.norm(truth["cam_0"].position - truth["cam_2"].position)
    done = refine_rig(project, "trot", distance=("cam_0", "cam_2", apart), noise_px=1.0)
    rig = load_rig(done.path)
    assert read_verdict(done.path) == done.figures["verdict"] != "FAIL"
    aligned = move_rig(rig, align_rigs(rig, truth))
    for camera in aligned:
        assert np.linalg.norm(camera.position - truth[camera.name].position) < 8.0


def test_places_that_settled_are_refined(project, truth, rng):
    cameras = tuple(
        Camera(c.name, c.intrinsics, c.rvec + rng.normal(scale=0.005, size=3), c.tvec)
        for c in truth
    )
    save_rig(CameraRig(cameras, "mm"), project / "calibration.toml")
    done = refine_rig(project, "trot", noise_px=1.5)
    rig = load_rig(done.path)
    aligned = move_rig(rig, align_rigs(rig, truth, scale=True))
    for camera in aligned:
        assert np.linalg.norm(camera.position - truth[camera.name].position) < 8.0


def test_an_animal_that_stands_still_places_no_camera(tmp_path, truth, rng):
    still = rng.uniform(-15, 15, size=(1, len(KEYPOINTS), 3)) + np.zeros((60, 1, 1))
    bias = rng.normal(scale=2.0, size=(4, 1, 1, len(KEYPOINTS), 2))
    folder = write_project(tmp_path / "project", truth, still, rng)
    loaded = Project.load(folder)
    seen = load_keypoints_2d(loaded.keypoints_2d_path("trot"))
    save_keypoints_2d(
        loaded.keypoints_2d_path("trot"),
        Keypoints2D(
            seen.xy + bias,
            seen.likelihood,
            seen.cameras,
            seen.individuals,
            seen.keypoints,
            seen.times,
            image_sizes=seen.image_sizes,
        ),
    )
    done = refine_rig(folder, "trot", camera="cam_1", noise_px=2.0)
    assert done.failed
    assert done.path.name == "trot.rejected.toml"
    assert "Record the animal walking" in done.failed
    assert not (folder / "calibrations/trot.toml").exists()
