"""Paths over time against known answers: error, covariance, gaps, limbs."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.cameras import CameraRig
from calibration.synthetic import ring_rig
from pose3d.keypoints import Keypoints2D, Keypoints3D, Missing
from pose3d.skeleton import Skeleton
from pose3d.trajectory import refine_trajectory
from pose3d.trajectory.limbs import learn_limbs
from pose3d.trajectory.smoothing import difference_rows, smooth
from pose3d.triangulation import triangulate

ENTRIES = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
NAMES = ("hip", "knee", "ankle", "toe")
SKELETON = Skeleton(NAMES, (("hip", "knee"), ("knee", "ankle"), ("ankle", "toe")))


def walk(n_frames, rng, fps=100.0):
    """A chain of limbs of 40, 30 and 20 that swings, (n_frames, 4, 3)."""
    at = np.arange(n_frames) / fps
    places = np.empty((n_frames, 4, 3))
    places[:, 0] = np.stack(
        [150 * np.sin(1.3 * at), 100 * np.cos(0.9 * at), 60 + 10 * np.sin(7 * at)], axis=1
    )
    for k, length in enumerate((40, 30, 20)):
        swing = 0.8 * np.sin(6 * at + k) + 0.3 * np.sin(11 * at + 2 * k + rng.uniform(0, 6))
        yaw = 0.5 * np.sin(2 * at + k)
        step = np.stack(
            [np.sin(swing) * np.cos(yaw), np.sin(swing) * np.sin(yaw), -np.cos(swing)], axis=1
        )
        places[:, k + 1] = places[:, k] + length * step
    return places


def found_points(places, rng, spread=1.0, times=None, **more):
    """Points with errors of a covariance that differs from point to point."""
    n_frames, n_keypoints = places.shape[:2]
    root = spread * (np.eye(3) + 0.4 * rng.normal(size=(n_frames, n_keypoints, 3, 3)))
    covariance = root @ np.swapaxes(root, -1, -2)
    xyz = places + (root @ rng.normal(size=(*places.shape, 1)))[..., 0]
    shape = (n_frames, 1, n_keypoints)
    return Keypoints3D(
        xyz=xyz[:, np.newaxis],
        covariance=covariance[:, np.newaxis],
        reprojection_error=np.ones(shape),
        view_errors=np.ones((2, *shape)),
        used_views=np.ones((2, *shape), dtype=bool),
        reason=np.zeros(shape, dtype=np.uint8),
        filled=np.zeros(shape, dtype=bool),
        cameras=("left", "right"),
        individuals=("animal",),
        keypoints=NAMES[:n_keypoints],
        times=np.arange(n_frames) / 100 if times is None else times,
        units="mm",
        **more,
    )


def without(points, gone):
    """Take points away (n_frames, n_keypoints)."""
    gone = gone[:, np.newaxis]
    return replace(
        points,
        xyz=np.where(gone[..., np.newaxis], np.nan, points.xyz),
        covariance=np.where(gone[..., np.newaxis, np.newaxis], np.nan, points.covariance),
        reason=np.where(gone, Missing.ONE_VIEW, 0).astype(np.uint8),
        reprojection_error=np.where(gone, np.nan, 1.0),
        used_views=points.used_views & ~gone,
    )


def errors(points, places):
    return np.linalg.norm(points.xyz[:, 0] - places, axis=-1)


def share_held(points, places, mask=None):
    """Share of the truth in the stated 95 % ellipsoids."""
    off = points.xyz[:, 0] - places
    there = np.isfinite(off[..., 0]) if mask is None else mask & np.isfinite(off[..., 0])
    inverse = np.linalg.inv(points.covariance[:, 0][there])
    return np.mean(np.einsum("ni,nij,nj->n", off[there], inverse, off[there]) < 7.815)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("how", ["always", "never"])
def test_smoothing_solves_the_whole_system(order, how, rng, monkeypatch):
    monkeypatch.setenv("POSE3D_COMPILE", how)
    n = 40
    times = np.cumsum(rng.uniform(0.5, 1.5, size=n))
    root = rng.normal(size=(n, 3, 3))
    information = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(3)
    information[8:13] = 0
    right = np.einsum("nij,nj->ni", information, rng.normal(size=(n, 3)))
    rows = difference_rows(times, order) / 0.3
    full = np.zeros((n, 3, n, 3))
    for f in range(n):
        full[f, :, f] += information[f]
    for f, row in enumerate(rows):
        for p, first in enumerate(row):
            for q, second in enumerate(row):
                full[f + p, :, f + q] += first * second * np.eye(3)
    full = full.reshape(3 * n, 3 * n)
    inverse = np.linalg.inv(full).reshape(n, 3, n, 3)
    normal = np.stack([information[:, i, j] for i, j in ENTRIES], axis=1)
    xyz, spread, half, explained = smooth(normal, right, rows)
    solution = np.linalg.solve(full, right.ravel())
    np.testing.assert_allclose(xyz.ravel(), solution, rtol=1e-6, atol=1e-8)
    expected = np.stack([[inverse[f, i, f, j] for i, j in ENTRIES] for f in range(n)])
    np.testing.assert_allclose(spread, expected, rtol=1e-6, atol=1e-8)
    assert half == pytest.approx(0.5 * np.linalg.slogdet(full)[1])
    assert explained == pytest.approx(right.ravel() @ solution)


def test_uneven_times_have_the_differences_of_a_polynomial(rng):
    times = np.cumsum(rng.uniform(0.5, 1.5, size=30))
    for order in (1, 2, 3):
        rows = difference_rows(times, order)
        values = np.stack([times[k : k + len(rows)] ** (order - 1) for k in range(order + 1)], 1)
        np.testing.assert_allclose((rows * values).sum(axis=1), 0, atol=1e-8)
    np.testing.assert_allclose(difference_rows(np.arange(9) / 7, 3)[0], [-1, 3, -3, 1])


def test_a_path_is_better_than_its_points_and_its_covariance_is_true(rng):
    places = walk(1500, rng)
    points = found_points(places, rng)
    path = refine_trajectory(points)
    assert np.median(errors(path, places)) < 0.6 * np.median(errors(points, places))
    assert 0.93 < share_held(path, places) < 0.985
    assert not path.filled.any()


def test_limbs_make_it_better_still(rng):
    places = walk(1500, rng)
    points = found_points(places, rng, spread=2.0)
    free, soft, rigid = (
        refine_trajectory(points, SKELETON, limbs=limbs) for limbs in ("none", "soft", "rigid")
    )
    assert np.median(errors(soft, places)) < 0.92 * np.median(errors(free, places))
    assert 0.93 < share_held(soft, places) < 0.985
    assert 0.93 < share_held(rigid, places) < 0.985
    for k, length in enumerate((40, 30, 20)):
        found = np.linalg.norm(rigid.xyz[:, 0, k] - rigid.xyz[:, 0, k + 1], axis=-1)
        assert np.median(found) == pytest.approx(length, rel=0.01)
        assert np.std(found) < 0.4


def test_limb_lengths_are_not_lengthened_by_noise(rng):
    places = walk(4000, rng)
    points = found_points(places, rng, spread=4.0)
    limbs = learn_limbs(
        points.xyz[:, 0], points.covariance[:, 0], SKELETON.edge_indices, rigid=False
    )
    np.testing.assert_allclose(limbs.lengths, (40, 30, 20), rtol=0.04)
    naive = np.linalg.norm(points.xyz[:, 0, 2] - points.xyz[:, 0, 3], axis=-1).mean()
    assert naive > 22


def test_outliers_are_left_out_and_said_to_be_filled(rng):
    places = walk(1000, rng)
    points = found_points(places, rng)
    wrong = rng.uniform(size=(1000, 4)) < 0.03
    xyz = points.xyz + np.where(wrong[:, np.newaxis, :, np.newaxis], rng.uniform(20, 300), 0)
    path = refine_trajectory(replace(points, xyz=xyz))
    assert path.filled[:, 0][wrong].mean() > 0.99
    assert path.filled[:, 0][~wrong].mean() < 0.002
    off = errors(path, places)
    assert off.max() < 6 * np.median(errors(points, places))
    assert np.isnan(path.reprojection_error[path.filled]).all()
    assert not path.used_views[:, path.filled].any()


def test_gaps_are_filled_with_growing_spread_and_long_ones_left_open(rng):
    places = walk(1000, rng)
    gone = np.zeros((1000, 4), dtype=bool)
    gone[200:212, 1] = True
    gone[500:600, 2] = True
    gone[:30, 3] = gone[-40:, 3] = True
    path = refine_trajectory(without(found_points(places, rng), gone), max_gap=0.5)
    assert path.filled[200:212, 0, 1].all()
    spread = np.sqrt(np.trace(path.covariance[195:217, 0, 1], axis1=-2, axis2=-1))
    assert spread[10] > 2 * spread[0]
    assert errors(path, places)[200:212, 1].max() < 4 * spread.max()
    assert np.isnan(path.xyz[500:600, 0, 2]).all()
    assert (path.reason[500:600, 0, 2] == Missing.ONE_VIEW).all()
    assert np.isnan(path.xyz[:30, 0, 3]).all()
    assert np.isnan(path.xyz[-40:, 0, 3]).all()
    short = rng.uniform(size=(1000, 4)) < 0.2
    path = refine_trajectory(without(found_points(places, rng), short))
    assert 0.9 < share_held(path, places, short & path.filled[:, 0]) < 0.995


def test_the_spread_of_points_is_corrected_where_it_is_wrong(rng):
    places = walk(1500, rng)
    points = found_points(places, rng)
    timid = replace(points, covariance=points.covariance / 4)
    assert 0.92 < share_held(refine_trajectory(timid), places) < 0.985


def test_too_few_points_stay_as_they_are(rng):
    places = walk(6, rng)
    points = found_points(places, rng)
    path = refine_trajectory(points, SKELETON)
    np.testing.assert_array_equal(path.xyz, points.xyz)
    gone = np.ones((6, 4), dtype=bool)
    empty = refine_trajectory(without(points, gone), SKELETON)
    assert np.isnan(empty.xyz).all()
    assert (empty.reason == Missing.ONE_VIEW).all()


def test_the_calibration_does_not_average_out(rng):
    """A rig with errors: smoothing must not make the points seem better than the rig allows."""
    held, alone = [], []
    for _ in range(30):
        rig = ring_rig(4, rng=rng)
        places = walk(120, rng)
        n = sum(camera.n_parameters for camera in rig)
        scale = np.concatenate([[1e-3] * 3 + [0.6] * 3 + [1.0] * (c.n_parameters - 6) for c in rig])
        for camera, (start, stop) in ((c, rig.parameter_range(c.name)) for c in rig):
            scale[start + 10 : stop] = 1e-9
            assert stop - start == camera.n_parameters
        rig = CameraRig(rig.cameras, rig.units, np.diag(scale**2), rig.world)
        change = scale * rng.normal(size=n)
        wrong = moved(rig, change)
        xy = wrong.project(places[:, np.newaxis])
        xy = xy + rng.normal(size=xy.shape)
        seen = Keypoints2D(
            xy, np.ones(xy.shape[:-1]), rig.names, ("animal",), NAMES, np.arange(120) / 100
        )
        path = refine_trajectory(triangulate(seen, rig, noise_px=1.0), SKELETON)
        assert path.rig_covariance is not None
        held.append(share_held(path, places))
        detector = replace(path, covariance=path.covariance - path.rig_covariance)
        alone.append(share_held(detector, places))
    assert np.mean(held) > 0.85
    assert np.mean(alone) < 0.6


def moved(rig, change):
    """A rig whose parameters differ: rotation, translation, fx, fy, cx, cy."""
    from calibration.rotations import rotation_matrices, rotation_vectors

    cameras = []
    for camera in rig:
        own = change[slice(*rig.parameter_range(camera.name))]
        turned = rotation_matrices(own[:3]) @ camera.rotation
        matrix = camera.intrinsics.matrix.copy()
        matrix[[0, 1, 0, 1], [0, 1, 2, 2]] += own[6:10]
        cameras.append(
            replace(
                camera,
                rvec=rotation_vectors(turned),
                tvec=camera.tvec + own[3:6],
                intrinsics=replace(camera.intrinsics, matrix=matrix),
            )
        )
    return CameraRig(tuple(cameras), rig.units)


def test_a_skeleton_of_another_animal_is_refused(rng):
    points = found_points(walk(50, rng), rng)
    with pytest.raises(ValueError, match="skeleton"):
        refine_trajectory(points, Skeleton(("a", "b")))
    with pytest.raises(ValueError, match="limbs is"):
        refine_trajectory(points, limbs="stiff")
    with pytest.raises(ValueError, match="order is"):
        refine_trajectory(points, order=4)


def test_a_point_that_stands_still_has_a_path(rng, monkeypatch):
    """The likeliest roughness is none at all; the equations must stay soluble."""
    places = np.broadcast_to(np.array([10.0, 20.0, 30.0]), (200, 1, 3))
    points = found_points(places, rng)
    for how in ("never", "always"):
        monkeypatch.setenv("POSE3D_COMPILE", how)
        path = refine_trajectory(points)
        assert np.median(errors(path, places)) < 0.35 * np.median(errors(points, places))
