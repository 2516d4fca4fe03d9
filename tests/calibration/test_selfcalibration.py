"""Cameras placed by keypoints: known answers with noise and wrong views, and a real person."""

import json
import warnings

import numpy as np
import pytest

from calibration.errors import CalibrationError
from calibration.formats.toml import load_rig
from calibration.multiview import align_rigs, move_rig
from calibration.rotations import rotation_vectors
from calibration.selfcalibration import (
    calibrate_from_keypoints,
    refine_cameras,
    resolve_camera,
    scale_rig,
)
from calibration.solve import standard_errors
from calibration.synthetic import looking_at, ring_rig


def walk(rng, n_frames=60, n_points=8):
    """Points of a body that walks about: (n_frames, n_points, 3), limb 0 - 1 of 90 mm."""
    t = np.linspace(0, 1, n_frames)
    path = np.column_stack([200 * np.cos(4 * t), 200 * np.sin(5 * t), 60 * np.sin(9 * t)])
    body = rng.uniform(-60, 60, size=(n_points, 3))
    points = path[:, None] + body + rng.normal(scale=10, size=(n_frames, n_points, 3))
    limb = points[:, 1] - points[:, 0]
    points[:, 1] = points[:, 0] + 90.0 * limb / np.linalg.norm(limb, axis=1, keepdims=True)
    return points


def watch(rig, points, rng, *, noise=1.0, wrong=0.1, missing=0.05):
    """Views with noise, wrong and missing ones; which are wrong."""
    xy = rig.project(points)
    xy += rng.normal(scale=noise, size=xy.shape)
    bad = rng.uniform(size=xy.shape[:-1]) < wrong
    xy = np.where(bad[..., None], rng.uniform(0, 1000, size=xy.shape), xy)
    xy[rng.uniform(size=xy.shape[:-1]) < missing] = np.nan
    return xy, bad


def lenses(rig):
    return {camera.name: camera.intrinsics for camera in rig}


def apart(rig, first, second):
    return float(np.linalg.norm(rig[first].position - rig[second].position))


def off(rig, truth):
    """Largest distance and angle of a camera from the truth, rigs aligned without scale."""
    aligned = move_rig(rig, align_rigs(rig, truth))
    turns = [rotation_vectors(c.rotation @ truth[c.name].rotation.T) for c in aligned]
    return (
        max(np.linalg.norm(c.position - truth[c.name].position) for c in aligned),
        np.degrees(max(np.linalg.norm(turn) for turn in turns)),
    )


@pytest.mark.parametrize("n_cameras", [2, 4])
def test_a_walking_animal_places_the_cameras(rng, n_cameras):
    rig = ring_rig(n_cameras, rng=rng)
    xy, bad = watch(rig, walk(rng), rng)
    found = calibrate_from_keypoints(
        lenses(rig), xy, units="mm", distance=("cam_0", "cam_1", apart(rig, "cam_0", "cam_1"))
    )
    distance, angle = off(found.rig, rig)
    assert distance < 4.0  # mm, of a rig of 1000 mm radius
    assert angle < 0.3
    assert found.sigma_px == pytest.approx(1.0, abs=0.12)
    # a view of two alone may be wrong along its ray and seem right
    assert np.count_nonzero(found.used & bad) < 0.05 * np.count_nonzero(bad)
    assert apart(found.rig, "cam_0", "cam_1") == pytest.approx(apart(rig, "cam_0", "cam_1"))


def test_exact_views_give_exact_cameras(rng):
    rig = ring_rig(3, rng=rng)
    xy, _ = watch(rig, walk(rng), rng, noise=0.0, wrong=0.0, missing=0.0)
    found = calibrate_from_keypoints(lenses(rig), xy, units="mm", limbs={(0, 1): 90.0})
    assert off(found.rig, rig)[0] < 1e-3


def test_standard_errors_say_how_far_off_the_distances_of_cameras_are():
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rig = ring_rig(3, rng=rng)
        xy, _ = watch(rig, walk(rng, n_frames=30), rng)
        length = apart(rig, "cam_0", "cam_1")
        found = calibrate_from_keypoints(
            lenses(rig), xy, units="mm", distance=("cam_0", "cam_1", length)
        )
        # a distance does not hang on the world; its error is taken from samples of the rig
        held = found.rig
        values, vectors = np.linalg.eigh(held.covariance)
        draws = vectors * np.sqrt(np.maximum(values, 0)) @ rng.normal(size=(len(values), 200))
        samples = []
        for draw in draws.T:
            places = {}
            for name in ("cam_1", "cam_2"):
                start, _ = held.parameter_range(name)
                camera = held[name]
                turn = np.eye(3) - np.cross(np.eye(3), draw[start : start + 3])
                places[name] = (
                    -camera.rotation.T @ turn @ (camera.tvec + draw[start + 3 : start + 6])
                )
            samples.append(np.linalg.norm(places["cam_1"] - places["cam_2"]))
        error = apart(held, "cam_1", "cam_2") - apart(rig, "cam_1", "cam_2")
        ratios.append(error / np.std(samples))
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 1.7


def test_a_limb_gives_the_scale_with_its_error(rng):
    rig = ring_rig(4, rng=rng)
    xy, _ = watch(rig, walk(rng), rng)
    found = calibrate_from_keypoints(
        lenses(rig), xy, units="mm", limbs={(0, 1): 90.0}, length_sd=0.01
    )
    ratio = apart(found.rig, "cam_0", "cam_2") / apart(rig, "cam_0", "cam_2")
    assert ratio == pytest.approx(1.0, abs=0.02)
    assert 0.01 < found.scale_error < 0.03
    limb = np.linalg.norm(found.points[:, 0] - found.points[:, 1], axis=-1)
    assert np.nanmedian(limb) == pytest.approx(90.0)


def test_errors_that_last_for_many_frames_widen_the_standard_errors(rng):
    rig = ring_rig(3, rng=rng)
    points = walk(rng, n_frames=100)
    white = rng.normal(size=(3, 100, 8, 2))
    slow = np.zeros_like(white)
    for f in range(100):
        slow[:, f] = 0.9 * slow[:, max(f - 1, 0)] + np.sqrt(1 - 0.81) * white[:, f]
    sizes = []
    for noise in (white, slow):
        found = resolve_camera(rig, "cam_1", rig.project(points) + noise)
        start, _ = rig.parameter_range("cam_1")
        sizes.append(np.sqrt(found.rig.covariance[start + 3, start + 3]) / found.sigma_px)
    # (1 + 0.9) / (1 - 0.9) in variance
    assert 2.5 < sizes[1] / sizes[0] < 5.5


def test_a_knocked_camera_is_placed_anew_and_the_others_stay(rng):
    rig = ring_rig(4, rng=rng)
    xy, _ = watch(rig, walk(rng), rng)
    lens = rig["cam_2"].intrinsics
    knocked = looking_at("cam_2", lens, rig["cam_2"].position + [150.0, -80.0, 60.0], [0, 30, 0])
    cameras = tuple(knocked if camera.name == "cam_2" else camera for camera in rig)
    found = resolve_camera(type(rig)(cameras, "mm"), "cam_2", xy)
    assert np.linalg.norm(found.rig["cam_2"].position - rig["cam_2"].position) < 3.0
    for name in ("cam_0", "cam_1", "cam_3"):
        assert found.rig[name] is rig[name]
        start, stop = found.rig.parameter_range(name)
        assert not found.rig.covariance[start:stop].any()


def test_places_that_are_nearly_right_are_refined(rng):
    rig = ring_rig(4, rng=rng)
    xy, _ = watch(rig, walk(rng), rng)
    cameras = tuple(
        type(c)(c.name, c.intrinsics, c.rvec + rng.normal(scale=0.01, size=3), c.tvec + 5.0)
        for c in rig
    )
    length = apart(rig, "cam_0", "cam_2") / apart(type(rig)(cameras), "cam_0", "cam_2")
    start = scale_rig(type(rig)(cameras), length)
    assert off(start, rig)[0] > 8.0
    assert off(refine_cameras(start, xy).rig, rig)[0] < 4.0


def test_cameras_side_by_side_are_refused_for_want_of_parallax(rng):
    rig = ring_rig(2, rng=rng)
    near = looking_at("cam_1", rig["cam_1"].intrinsics, rig["cam_0"].position + 3.0, [0, 0, 0])
    rig = type(rig)((rig["cam_0"], near), "mm")
    xy, _ = watch(rig, walk(rng), rng, wrong=0.0)
    with pytest.raises(CalibrationError, match="degrees, 2 are needed: they stand side by"):
        calibrate_from_keypoints(
            lenses(rig), xy, units="mm", distance=("cam_0", "cam_1", 5.0), noise_px=1.0
        )


def test_points_in_one_plane_are_refused(rng):
    rig = ring_rig(2, rng=rng)
    points = walk(rng) * [1.0, 1.0, 0.0]
    xy, _ = watch(rig, points, rng, wrong=0.05)
    # taken as good, one in four such rigs would come out as the plane's other motion
    with pytest.raises(CalibrationError, match="keypoints lie in one plane"):
        calibrate_from_keypoints(
            lenses(rig), xy, units="mm", distance=("cam_0", "cam_1", 5.0), noise_px=1.0
        )


def test_cameras_that_share_too_little_are_named(rng):
    rig = ring_rig(4, rng=rng)
    xy, _ = watch(rig, walk(rng), rng, wrong=0.0)
    xy[:2, 30:] = np.nan
    xy[2:, :30] = np.nan
    with pytest.raises(CalibrationError, match="2 groups .*'cam_0', 'cam_1'; 'cam_2', 'cam_3'"):
        calibrate_from_keypoints(
            lenses(rig), xy, units="mm", distance=("cam_0", "cam_1", 5.0), noise_px=1.0
        )
    with pytest.raises(CalibrationError, match="'cam_0' sees 0 keypoints .* 12 are needed"):
        resolve_camera(rig.subset(["cam_0", "cam_2", "cam_3"]), "cam_0", xy[[0, 2, 3]])


def test_a_walking_person_places_real_cameras(data_folder):
    folder = data_folder / "pose2sim_single_person/reference_2024"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = load_rig(folder / "Calib_qualisys.toml")
    xy = np.full((4, 100, 25, 2), np.nan)
    weights = np.zeros((4, 100, 25))
    for i in range(4):
        files = sorted((folder / f"balancing/pose/cam{i + 1:02d}_json").glob("*.json"))
        for f, path in enumerate(files):
            people = json.loads(path.read_text())["people"]
            bodies = np.array([one["pose_keypoints_2d"] for one in people]).reshape(-1, 25, 3)
            sure = [body[body[:, 2] > 0.3, 1] for body in bodies]
            # the person in the middle is nearest, so the largest; another stands behind
            tall = [np.ptp(rows) if len(rows) > 5 else 0.0 for rows in sure]
            body = bodies[int(np.argmax(tall))]
            xy[i, f], weights[i, f] = body[:, :2], body[:, 2]
    weights[weights < 0.4] = 0.0
    found = calibrate_from_keypoints(
        lenses(truth),
        xy,
        units="m",
        distance=("cam_01", "cam_03", apart(truth, "cam_01", "cam_03")),
        weights=weights,
        noise_px=5.0,
    )
    distance, angle = off(found.rig, truth)
    assert distance < 0.07  # m; the room is 7 m long, detections are off by 9 px
    assert angle < 1.0
    # detections err alike for many frames: errors of 7 cm are owned up to, not of 1
    errors = np.linalg.norm(standard_errors(found.rig)["position"], axis=1)
    assert 0.04 < errors.max() < 0.12
    assert found.verdict.level == "WARN"
    assert "position: Camera 'cam_02' stands 3.7" in str(found.verdict)
    again = resolve_camera(truth, "cam_02", xy, weights=weights, noise_px=5.0)
    place = again.rig["cam_02"].position
    assert np.linalg.norm(place - truth["cam_02"].position) < 0.08


def test_a_mouse_that_hardly_moves_is_not_believed(data_folder):
    h5py = pytest.importorskip("h5py")
    folder = data_folder / "sleap_anipose_minimal_session"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rig = load_rig(folder / "derived/recalibrated_aniposelib.toml")
    xy = []
    for name in rig.names:
        with h5py.File(folder / name / f"minimal_{name}_proofread.analysis.h5") as file:
            xy.append(file["tracks"][0].transpose(2, 1, 0))
    found = resolve_camera(rig, "side", np.array(xy), noise_px=5.0)
    # it comes out 26 mm off at 240 mm, and says so: 24 mm as one standard error
    assert found.verdict.level == "FAIL"
    assert "Record the animal walking through all of the space" in str(found.verdict)
    off_mm = np.linalg.norm(found.rig["side"].position - rig["side"].position)
    assert off_mm < 3 * np.linalg.norm(standard_errors(found.rig)["position"][2])
