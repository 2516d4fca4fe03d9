"""Triangulation of real recordings, against what others made of them."""

import json
import tomllib
import warnings
from dataclasses import replace

import numpy as np
import pytest

from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import DataWarning
from calibration.formats.exchange import load_any
from calibration.rotations import rotation_vectors
from pose3d.formats.trc import load_trc
from pose3d.keypoints import Keypoints2D
from pose3d.smoothing import combine_networks
from pose3d.triangulation import triangulate


def seen_by(rig, xy, likelihood=None, keypoints=None):
    """Keypoints of one subject from image points (n_cameras, n_frames, n_keypoints, 2)."""
    xy = np.asarray(xy, dtype=float)[:, :, np.newaxis]
    return Keypoints2D(
        xy=xy,
        likelihood=np.ones(xy.shape[:-1]) if likelihood is None else likelihood,
        cameras=rig.names,
        individuals=("subject",),
        keypoints=keypoints or tuple(f"point {i}" for i in range(xy.shape[3])),
        times=np.arange(xy.shape[1]) / 100,
        image_sizes=[camera.intrinsics.image_size for camera in rig],
    )


def anipose_rig(path):
    """The cameras of a file in aniposelib's layout."""
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    return CameraRig(
        tuple(
            Camera(
                section["name"],
                Intrinsics(section["matrix"], section["distortions"], section["size"]),
                section["rotation"],
                section["translation"],
            )
            for key, section in sections.items()
            if key != "metadata"
        )
    )


def test_dannce_labels_come_back_exactly(data_folder):
    """Real cameras with skew; the labels' image points are exact projections."""
    import scipy.io

    path = data_folder / "dannce_mouse_1" / "label3d_dannce.mat"
    session = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    cameras = []
    for i, camera in enumerate(session["params"]):
        (k1, k2, k3), (p1, p2) = camera.RDistort, camera.TDistort
        lens = Intrinsics(camera.K.T, [k1, k2, p1, p2, k3], (1152, 1024))
        cameras.append(Camera(f"camera {i}", lens, rotation_vectors(camera.r.T), camera.t))
    rig = CameraRig(tuple(cameras))
    truth = session["labelData"][0].data_3d.reshape(-1, 22, 3)
    xy = np.stack([camera.data_2d.reshape(-1, 22, 2) for camera in session["labelData"]])
    found = triangulate(seen_by(rig, xy), rig)
    assert np.isfinite(truth).sum() > 5000
    np.testing.assert_allclose(found.xyz[:, 0], truth, atol=1e-6)


def fly(data_folder, network):
    """What one network saw of a fly through three long lenses."""
    folder = data_folder / "eks_fly_3cam"
    rig = anipose_rig(folder / "calibration.toml")
    tables = [
        np.genfromtxt(
            folder / f"05272019_fly4_0_R1C24_{name}_rot-ccw-0.06_sec.rng={network}.csv",
            delimiter=",",
            skip_header=3,
        )[:, 1:].reshape(500, 12, 3)
        for name in rig.names
    ]
    xy, likelihood = np.stack(tables)[..., :2], np.stack(tables)[..., 2].clip(0, 1)
    return seen_by(rig, xy, likelihood=likelihood[:, :, np.newaxis]), rig


@pytest.mark.parametrize(("network", "mean_px"), [(0, 1.59), (1, 1.68), (2, 1.66)])
def test_a_fly_through_long_lenses(data_folder, network, mean_px):
    """Nearly affine cameras, focal length up to 136,330 px; reference: aniposelib's mean."""
    seen, rig = fly(data_folder, network)
    alike = triangulate(seen, rig, method="least-squares", noise_px=1.0)
    assert np.nanmean(alike.view_errors) < mean_px
    found = triangulate(seen, rig)
    # weights by learned spread cost some of that mean, and predict views held out better
    assert np.nanmean(found.view_errors) < 1.02 * mean_px
    assert np.isfinite(found.xyz).mean() > 0.999


def test_three_networks_together_see_a_fly_better_than_the_best_of_them(data_folder):
    predictions = [fly(data_folder, network)[0] for network in range(3)]
    rig = fly(data_folder, 0)[1]
    together = combine_networks(predictions)
    assert np.nanmean(triangulate(together, rig, method="dlt").view_errors) < 1.35
    found = triangulate(together, rig)
    assert np.nanmean(found.view_errors) < 1.52
    assert np.isfinite(found.xyz).mean() > 0.999


def mouse(data_folder):
    """The proofread tracks of four cameras."""
    import h5py

    folder = data_folder / "sleap_anipose_minimal_session"
    rig = anipose_rig(folder / "derived" / "recalibrated_aniposelib.toml")
    tracks = []
    for name in rig.names:
        with h5py.File(folder / name / f"minimal_{name}_proofread.analysis.h5") as file:
            tracks.append(file["tracks"][0].transpose(2, 1, 0))
    return seen_by(rig, np.stack(tracks)), rig


def test_a_mouse_is_triangulated_as_its_reference_says(data_folder):
    seen, rig = mouse(data_folder)
    found = triangulate(seen, rig, method="dlt")
    assert np.nanmean(found.view_errors) == pytest.approx(7.34, abs=0.05)
    assert np.nanmedian(found.view_errors) == pytest.approx(6.09, abs=0.05)


def held_out(seen, rig, noise_px):
    """Distances in each camera to points triangulated from the others."""
    found = []
    for i, name in enumerate(rig.names):
        rest = [j for j in range(len(rig)) if j != i]
        points = triangulate(
            seen.subset([rig.names[j] for j in rest]),
            rig,
            noise_px=noise_px,
        )
        found.append(np.linalg.norm(rig[name].project(points.xyz) - seen.xy[i], axis=-1))
    return np.concatenate(found, axis=None)


def test_learned_weights_predict_a_view_that_was_held_out(data_folder):
    """Two of the four views of this mouse are far better than the others."""
    seen, rig = mouse(data_folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        learned, alike = held_out(seen, rig, None), held_out(seen, rig, 6.0)
    assert np.nanmean(learned) < 0.88 * np.nanmean(alike)
    assert np.nanmedian(learned) < 0.9 * np.nanmedian(alike)
    assert np.isfinite(learned).sum() > 0.95 * np.isfinite(alike).sum()


#: The point of OpenPose's BODY_25 behind each marker of the reference.
BODY_25 = {
    "RHip": 12, "RKnee": 14, "RAnkle": 16, "RBigToe": 22, "RSmallToe": 23, "RHeel": 24, "LHip": 11,
    "LKnee": 13, "LAnkle": 15, "LBigToe": 19, "LSmallToe": 20, "LHeel": 21, "Neck": 17, "Head": 18,
    "Nose": 0, "RShoulder": 6, "RElbow": 8, "RWrist": 10, "LShoulder": 5, "LElbow": 7, "LWrist": 9,
}  # fmt: skip


def test_a_walking_person_has_fewer_outliers_than_the_reference(data_folder):
    """Reference: Pose2Sim, which drops cameras; 14.8 px from the detections on average."""
    folder = data_folder / "pose2sim_single_person" / "reference_2024"
    rig = anipose_rig(folder / "Calib_qualisys.toml")
    rig = replace(rig, units="m")
    markers = load_trc(folder / "balancing" / "pose-3d" / "S00_P00_T01_BalancingTrial_0-100.trc")
    views = []
    for pose in sorted((folder / "balancing" / "pose").glob("cam*_json")):
        people = [
            json.loads(path.read_text(encoding="utf-8"))["people"][0]
            for path in sorted(pose.iterdir())
        ]
        points = np.array([person["pose_keypoints_2d"] for person in people]).reshape(100, 25, 3)
        views.append(points[:, [BODY_25[name] for name in markers.names]])
    views = np.stack(views)
    likelihood = views[..., 2].clip(0, 1)
    xy = np.where(likelihood[..., np.newaxis] >= 0.3, views[..., :2], np.nan)
    seen = seen_by(rig, xy, likelihood[:, :, np.newaxis], markers.names)
    found = triangulate(seen, rig, min_likelihood=0.3)

    def mean_px(points):
        return np.nanmean(np.linalg.norm(rig.project(points) - xy, axis=-1))

    def jumps(points):
        second = np.diff(points, n=2, axis=0)
        return np.nanquantile(np.linalg.norm(second, axis=-1), [0.95, 0.99])

    reference = mean_px(markers.xyz)
    assert reference == pytest.approx(14.8, abs=0.1)
    assert mean_px(found.xyz[:, 0]) < reference
    assert np.isfinite(found.xyz).mean() > 0.99
    assert (jumps(found.xyz[:, 0]) < 0.5 * jumps(markers.xyz)).all()


def people(data_folder):
    """A person before four webcams: what a network saw, the cameras, the reference's points."""
    folder = data_folder / "caliscope_4cam_charuco"
    _, rig = load_any(folder / "camera_array.toml")
    seen = np.genfromtxt(
        folder / "recording_1_holistic" / "xy_HOLISTIC.csv", delimiter=",", skip_header=1
    )
    reference = np.genfromtxt(
        folder / "recording_1_holistic" / "xyz_HOLISTIC.csv", delimiter=",", skip_header=1
    )
    frames, names = np.unique(seen[:, 0]).astype(int), np.unique(seen[:, 4]).astype(int)
    xy = np.full((4, len(frames), len(names), 2), np.nan)
    places = np.searchsorted(frames, seen[:, 0]), np.searchsorted(names, seen[:, 4])
    xy[seen[:, 1].astype(int), *places] = seen[:, 5:7]
    xyz = np.full((len(frames), len(names), 3), np.nan)
    kept = np.isin(reference[:, 2], names)
    reference = reference[kept]
    places = np.searchsorted(frames, reference[:, 1]), np.searchsorted(names, reference[:, 2])
    xyz[places] = reference[:, 3:6]
    return seen_by(rig, xy), rig, xyz


def test_a_person_is_triangulated_as_by_caliscope(data_folder):
    """Network output on webcams: reprojection of the reference itself is 24 px on average."""
    seen, rig, reference = people(data_folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        plain = triangulate(seen, rig, method="dlt")
        found = triangulate(seen, rig)
        robust = held_out(seen, rig, None)
    apart = 1000 * np.linalg.norm(plain.xyz[:, 0] - reference, axis=-1)
    assert np.isfinite(apart).sum() > 15_000
    assert np.nanmedian(apart) <= 7.8

    def left_out(method):
        errors = []
        for i, name in enumerate(rig.names):
            rest = [other for other in rig.names if other != name]
            points = triangulate(seen.subset(rest), rig, method=method)
            errors.append(np.linalg.norm(rig[name].project(points.xyz) - seen.xy[i], axis=-1))
        return np.concatenate(errors, axis=None)

    both = np.isfinite(robust) & np.isfinite(left_out("dlt"))
    assert np.median(robust[both]) < np.median(left_out("dlt")[both])
    assert found.used_views.sum(axis=0)[np.isfinite(found.xyz[..., 0])].mean() > 2.2
