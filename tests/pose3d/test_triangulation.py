"""Triangulation against known answers and the information limit."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import DataError, DataWarning
from calibration.multiview import move_rig, projection_jacobian
from calibration.rotations import rotation_matrices, rotation_vectors
from calibration.synthetic import looking_at, ring_rig
from pose3d.keypoints import Keypoints2D, Missing
from pose3d.triangulation import locator, triangulate, verb
from pose3d.triangulation.choosing import MAX_PAIRS, view_pairs

BEHIND, PARALLEL = Missing.BEHIND_CAMERA, Missing.PARALLEL_RAYS


def seen_by(rig, xy, likelihood=1.0, **more):
    """Keypoints of one animal from image points (n_cameras, n_frames, n_keypoints, 2)."""
    xy = np.asarray(xy, dtype=float)[:, :, np.newaxis]
    return Keypoints2D(
        xy=xy,
        likelihood=np.broadcast_to(likelihood, xy.shape[:-1]),
        cameras=rig.names,
        individuals=("mouse",),
        keypoints=tuple(f"point {i}" for i in range(xy.shape[3])),
        times=np.arange(xy.shape[1]) / 100,
        image_sizes=[camera.intrinsics.image_size for camera in rig],
        **more,
    )


def animal(rng, n_frames=300, n_keypoints=10, reach=150):
    return rng.uniform(-reach, reach, size=(n_frames, n_keypoints, 3))


def distances(found, truth):
    return np.linalg.norm(found.xyz[:, 0] - truth, axis=-1)


def spoilt(rig, points, rng, *, noise=(1.0, 2.0), missing=0.1, wrong=0.07):
    """Image points with noise, gaps and gross errors; their spread; the Cramer-Rao covariance."""
    exact = rig.project(points)
    spread = rng.uniform(*noise, size=(len(rig), points.shape[1]))
    xy = exact + rng.normal(size=exact.shape) * spread[:, np.newaxis, :, np.newaxis]
    gone = rng.uniform(size=exact.shape[:-1]) < missing
    gross = rng.uniform(size=exact.shape[:-1]) < wrong
    angle, far = rng.uniform(0, 2 * np.pi, gross.shape), rng.uniform(40, 300, gross.shape)
    shift = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * far[..., np.newaxis]
    xy = np.where(gross[..., np.newaxis], xy + shift, xy)
    xy[gone] = np.nan
    good = ~gone & ~gross
    information = np.zeros((*points.shape, 3))
    for i, camera in enumerate(rig):
        slope = projection_jacobian(camera, points)
        weight = good[i] / spread[i] ** 2
        information += np.einsum("...ki,...kj,...->...ij", slope, slope, weight)
    known = good.sum(axis=0) >= 2
    bound = np.full(information.shape, np.nan)
    bound[known] = np.linalg.inv(information[known])
    return xy, spread, bound, known


def drawn_from(covariance, rng):
    """Lengths of errors drawn from covariances (n, 3, 3)."""
    errors = np.linalg.cholesky(covariance) @ rng.normal(size=(len(covariance), 3, 1))
    return np.linalg.norm(errors[..., 0], axis=-1)


@pytest.mark.parametrize("model", ["pinhole", "brown", "rational", "fisheye"])
@pytest.mark.parametrize("n_cameras", [2, 5, 12])
@pytest.mark.parametrize("method", ["robust", "least-squares", "dlt"])
def test_triangulation_undoes_projection(model, n_cameras, method, rng):
    rig = ring_rig(n_cameras, model=model, rng=rng)
    points = animal(rng, n_frames=40)
    found = triangulate(seen_by(rig, rig.project(points)), rig, method=method)
    np.testing.assert_allclose(found.xyz[:, 0], points, atol=1e-6)
    assert found.used_views.all()
    assert found.reprojection_error.max() < 1e-6


def test_skew_counts(rng):
    rig = ring_rig(3, rng=rng)
    skewed = tuple(
        replace(
            camera, intrinsics=replace(lens, matrix=lens.matrix + [[0, 5, 0], [0] * 3, [0] * 3])
        )
        for camera, lens in ((camera, camera.intrinsics) for camera in rig)
    )
    rig, points = CameraRig(skewed), animal(rng, n_frames=20)
    found = triangulate(seen_by(rig, rig.project(points)), rig)
    np.testing.assert_allclose(found.xyz[:, 0], points, atol=1e-6)


@pytest.mark.parametrize("n_cameras", [3, 4, 6])
def test_one_camera_200_px_off_is_rejected_and_named(n_cameras, rng):
    rig = ring_rig(n_cameras, rng=rng)
    points = animal(rng)
    xy = rig.project(points) + rng.normal(scale=0.5, size=(n_cameras, 300, 10, 2))
    xy[1] += [200, 0]
    with pytest.warns(DataWarning, match="'cam_1' disagrees with the others in 100%"):
        found = triangulate(seen_by(rig, xy), rig)
    assert np.median(distances(found, points)) < 1
    assert np.isfinite(found.xyz).mean() > 0.99
    assert not found.used_views[1].any()
    assert np.nanmedian(found.view_errors[1]) == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize(
    ("n_cameras", "share_wrong", "share_missing"), [(4, 0.0015, 0.02), (6, 0.0005, 0.005)]
)
@pytest.mark.parametrize("told", [True, False], ids=["spread known", "spread learned"])
def test_gross_errors_leave_the_information_limit_in_reach(
    n_cameras, share_wrong, share_missing, told, rng
):
    rig = ring_rig(n_cameras, radius=1500, rng=rng)
    points = animal(rng, n_frames=1500, reach=200)
    xy, spread, bound, known = spoilt(rig, points, rng)
    found = triangulate(seen_by(rig, xy), rig, noise_px=spread if told else None)
    errors = distances(found, points)[known]
    limit = drawn_from(bound[known], rng)
    there = np.isfinite(errors)
    assert there.mean() > 1 - share_missing
    assert np.median(errors[there]) < 1.03 * np.median(limit)
    assert np.quantile(errors[there], 0.99) < 1.07 * np.quantile(limit, 0.99)
    assert np.mean(errors[there] > 20) <= share_wrong


def test_the_covariance_is_true(rng):
    rig = ring_rig(5, rng=rng)
    points = animal(rng, n_frames=1500)
    xy, _, _, known = spoilt(rig, points, rng)
    found = triangulate(seen_by(rig, xy), rig)
    there = known & np.isfinite(found.xyz[:, 0, :, 0])
    error = (found.xyz[:, 0] - points)[there]
    chi2 = np.einsum("ni,nij,nj->n", error, np.linalg.inv(found.covariance[:, 0][there]), error)
    # chi-square of three degrees of freedom: mean 3, 95 % below 7.81; the few gross errors that
    # went unnoticed are left out of the mean
    assert np.mean(chi2[chi2 < 30]) == pytest.approx(3, abs=0.15)
    assert np.mean(chi2 < 7.815) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("model", ["brown", "rational", "fisheye"])
def test_the_covariance_knows_of_the_calibration(model, rng):
    """What a wrong parameter does to points is what its covariance says."""
    rig = ring_rig(3, model=model, rng=rng)
    points = animal(rng, n_frames=2)
    seen = seen_by(rig, rig.project(points))
    camera = rig.cameras[1]
    lens, n_coefficients = camera.intrinsics, camera.intrinsics.dist.size
    spread = [1e-4] * 3 + [0.1] * 3 + [0.1] * 4 + [1e-3] * n_coefficients
    for k, size in enumerate(spread):
        by = np.zeros(len(spread))
        by[k] = size
        wrong = Camera(
            camera.name,
            replace(
                lens,
                matrix=lens.matrix + [[by[6], 0, by[8]], [0, by[7], by[9]], [0, 0, 0]],
                dist=lens.dist + by[10:],
            ),
            rotation_vectors(rotation_matrices(by[:3]) @ camera.rotation),
            camera.tvec + by[3:6],
        )
        covariance = np.zeros((3 * len(spread),) * 2)
        covariance[len(spread) + k, len(spread) + k] = size**2
        wrong_rig = CameraRig((rig.cameras[0], wrong, rig.cameras[2]), covariance=covariance)
        found = triangulate(seen, wrong_rig, method="least-squares", noise_px=1e-6)
        shift = found.xyz[:, 0] - points
        expected = shift[..., :, np.newaxis] * shift[..., np.newaxis, :]
        np.testing.assert_allclose(
            found.covariance[:, 0],
            expected,
            atol=1e-10 + 0.02 * np.abs(expected).max(),
            err_msg=f"{k}",
        )


def test_a_likelihood_and_a_covariance_weigh_views(rng):
    rig = ring_rig(4, rng=rng)
    points = animal(rng, n_frames=500)
    noise = rng.normal(size=(4, 500, 10, 2))
    # one camera is four times as bad along its rows, and says so
    noise[2, ..., 0] *= 4
    covariance = np.broadcast_to(np.eye(2), (4, 500, 1, 10, 2, 2)).copy()
    covariance[2, ..., 0, 0] = 16
    xy = rig.project(points) + noise
    told = triangulate(seen_by(rig, xy, covariance=covariance), rig, noise_px=1.0)
    untold = triangulate(seen_by(rig, xy), rig, noise_px=2.0)
    assert np.median(distances(told, points)) < 0.9 * np.median(distances(untold, points))
    error = (told.xyz[:, 0] - points).reshape(-1, 3)
    chi2 = np.einsum("ni,nij,nj->n", error, np.linalg.inv(told.covariance.reshape(-1, 3, 3)), error)
    assert np.mean(chi2) == pytest.approx(3, abs=0.15)

    doubted = np.ones((4, 500, 1, 10))
    doubted[2] = 0.61
    lighter = triangulate(seen_by(rig, xy, likelihood=doubted), rig, noise_px=2.0)
    assert np.median(distances(lighter, points)) < np.median(distances(untold, points))
    assert (np.linalg.det(lighter.covariance) > np.linalg.det(untold.covariance)).all()


def test_the_spread_is_learned_for_each_camera(rng):
    rig = ring_rig(4, rng=rng)
    points = animal(rng, n_frames=500)
    true = np.array([0.5, 1.0, 2.0, 4.0])
    xy = rig.project(points) + rng.normal(size=(4, 500, 10, 2)) * true[:, None, None, None]
    learned = triangulate(seen_by(rig, xy), rig)
    known = triangulate(seen_by(rig, xy), rig, noise_px=np.repeat(true[:, None], 10, axis=1))
    ratio = np.sqrt(np.trace(learned.covariance, axis1=-2, axis2=-1)) / np.sqrt(
        np.trace(known.covariance, axis1=-2, axis2=-1)
    )
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    assert np.median(distances(learned, points)) < 1.05 * np.median(distances(known, points))


@pytest.mark.parametrize("n_cameras", [2, 3, 6])
def test_noise_alone_is_missing(n_cameras, rng):
    rig = ring_rig(n_cameras, rng=rng)
    xy = rng.uniform(0, 1, size=(n_cameras, 300, 10, 2)) * [1280, 1024]
    with pytest.warns(DataWarning, match="do not agree"):
        found = triangulate(seen_by(rig, xy), rig)
    assert np.mean(found.reason == Missing.PRESENT) < 0.05
    assert np.mean(found.reason == Missing.VIEWS_DISAGREE) > 0.9


def test_one_keypoint_of_noise_spoils_no_other(rng):
    rig = ring_rig(4, rng=rng)
    points = animal(rng)
    xy = rig.project(points) + rng.normal(size=(4, 300, 10, 2))
    xy[:, :, 3] = rng.uniform(0, 1000, size=(4, 300, 2))
    found = triangulate(seen_by(rig, xy), rig)
    assert np.isfinite(found["point 3"]).mean() < 0.07
    others = np.delete(distances(found, points), 3, axis=1)
    assert np.isfinite(others).all()
    assert np.median(others) < 2


def test_what_is_missing_says_why(rng):
    rig = ring_rig(3, rng=rng)
    points = animal(rng, n_frames=200, n_keypoints=4)
    xy = rig.project(points) + rng.normal(size=(3, 200, 4, 2))
    likelihood = np.ones((3, 200, 1, 4))
    xy[:, 5, 0] = np.nan
    xy[1:, 5, 1, 0] = np.nan  # half of a point is none
    likelihood[:2, 5, 0, 2] = 0.3
    likelihood[:, 5, 0, 3] = np.nan
    found = triangulate(seen_by(rig, xy, likelihood=likelihood), rig)
    assert found.reason[5, 0].tolist() == [
        Missing.NOT_SEEN,
        Missing.ONE_VIEW,
        Missing.ONE_VIEW,
        Missing.NOT_SEEN,
    ]
    missing = found.reason != Missing.PRESENT
    assert missing.sum() == 4
    for field in ("xyz", "covariance", "reprojection_error"):
        assert np.isnan(getattr(found, field)[missing]).all()
    assert not found.used_views[:, missing].any()
    assert np.isnan(found.view_errors[:, missing]).all()
    assert found.n_views[~missing].min() == 3


def test_rays_that_part_meet_behind_the_cameras():
    lens = Intrinsics([[800, 0, 640], [0, 800, 512], [0, 0, 1]], (), (1280, 1024), "pinhole")
    rig = CameraRig(
        (
            Camera("left", lens, np.zeros(3), [50, 0, 0]),
            Camera("right", lens, np.zeros(3), [-50, 0, 0]),
        )
    )
    found = triangulate(seen_by(rig, [[[[540, 500]]], [[[740, 500]]]]), rig, noise_px=1.0)
    assert found.reason.item() == BEHIND


def test_parallel_rays_say_nothing_about_depth(rng):
    rig = ring_rig(2, rng=rng)
    first = rig.cameras[0]
    beside = CameraRig((first, replace(first, name="beside", tvec=first.tvec + [2, 0, 0])))
    points = animal(rng, n_frames=50)
    found = triangulate(seen_by(beside, beside.project(points)), beside, noise_px=1.0)
    assert (found.reason == PARALLEL).all()
    # at the same place there is no depth at all
    beside = CameraRig((first, replace(first, name="beside")))
    found = triangulate(seen_by(beside, beside.project(points)), beside, noise_px=1.0)
    assert (found.reason == PARALLEL).all()
    # a third camera from the side settles it
    third = CameraRig((*beside.cameras, rig.cameras[1]))
    found = triangulate(seen_by(third, third.project(points)), third, noise_px=1.0)
    np.testing.assert_allclose(found.xyz[:, 0], points, atol=1e-6)


def test_a_small_angle_through_long_lenses_is_enough(rng):
    lens = Intrinsics([[1e5, 0, 640], [0, 1e5, 512], [0, 0, 1]], (), (1280, 1024), "pinhole")
    rig = CameraRig(
        (
            looking_at("a", lens, [1000, 0, 0], [0, 0, 0]),
            looking_at("b", lens, [1000, 15, 0], [0, 0, 0]),
        )
    )
    points = rng.uniform(-3, 3, size=(20, 2, 3))
    found = triangulate(seen_by(rig, rig.project(points)), rig, noise_px=1.0)
    np.testing.assert_allclose(found.xyz[:, 0], points, atol=1e-6)


def test_order_of_cameras_and_blind_cameras_change_nothing(rng):
    rig = ring_rig(5, rng=rng)
    xy, *_ = spoilt(rig, animal(rng), rng)
    seen = seen_by(rig, xy)
    found = triangulate(seen, rig)
    order = [3, 0, 4, 2, 1]
    shuffled = triangulate(seen.subset([rig.names[i] for i in order]), rig)
    np.testing.assert_allclose(shuffled.xyz, found.xyz, atol=1e-6)
    np.testing.assert_array_equal(shuffled.used_views, found.used_views[order])
    np.testing.assert_array_equal(shuffled.reason, found.reason)

    larger = CameraRig((*rig.cameras, replace(rig.cameras[0], name="blind", tvec=[0, 0, 900])))
    blind = triangulate(seen_by(larger, np.concatenate([xy, np.full_like(xy[:1], np.nan)])), larger)
    np.testing.assert_allclose(blind.xyz, found.xyz, atol=1e-6)
    np.testing.assert_array_equal(blind.used_views[:5], found.used_views)


def test_moving_the_world_moves_the_points(rng):
    rig = ring_rig(4, rng=rng)
    seen = seen_by(rig, spoilt(rig, animal(rng), rng)[0])
    motion = np.eye(4)
    motion[:3, :3] = rotation_matrices(np.array([0.4, -1.2, 2.0]))
    motion[:3, 3] = [300, -2000, 700]
    found, moved = triangulate(seen, rig), triangulate(seen, move_rig(rig, motion))
    np.testing.assert_allclose(moved.xyz, found.xyz @ motion[:3, :3].T + motion[:3, 3], atol=1e-5)
    turned = motion[:3, :3] @ found.covariance @ motion[:3, :3].T
    np.testing.assert_allclose(moved.covariance, turned, atol=1e-5)


def test_blocks_change_nothing_but_memory(rng, monkeypatch):
    rig = ring_rig(3, rng=rng)
    seen = seen_by(rig, spoilt(rig, animal(rng), rng)[0])
    whole = triangulate(seen, rig)
    blocks = []
    monkeypatch.setattr(verb, "_STRETCH", 137)
    monkeypatch.setattr(locator, "_BLOCK", 50)
    split = triangulate(seen, rig, progress=lambda steps: blocks.extend(steps) or steps)
    assert len(blocks) == 22
    np.testing.assert_allclose(split.xyz, whole.xyz, atol=1e-9)
    np.testing.assert_array_equal(split.used_views, whole.used_views)


def test_working_memory_does_not_grow_with_the_recording(rng):
    rig = ring_rig(3, rng=rng)
    extra = []
    for n_frames in (6_000, 24_000):
        seen = seen_by(rig, rig.project(animal(rng, n_frames=n_frames)))
        tracemalloc.start()
        found = triangulate(seen, rig)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        kept = ("xyz", "covariance", "reprojection_error", "view_errors", "used_views", "reason")
        extra.append(peak - sum(getattr(found, name).nbytes for name in kept))
    # checks of the whole arrays make a few masks; working arrays are a hundred times larger
    assert extra[1] - extra[0] < 18_000 * 10 * 3 * 8 * 2


def test_hypotheses_hold_every_pair_once_and_do_not_outgrow_the_views():
    for n_views in range(2, 33):
        pairs = np.sort(np.concatenate(view_pairs(n_views)), axis=1)
        assert len(np.unique(pairs, axis=0)) == len(pairs) <= max(MAX_PAIRS, n_views)
        assert np.ptp(np.bincount(pairs.ravel(), minlength=n_views)) <= 1
        if n_views <= 12:
            assert len(pairs) == n_views * (n_views - 1) // 2


def test_many_cameras_work_as_few(rng):
    rig = ring_rig(20, rng=rng)
    points = animal(rng, n_frames=30)
    xy, _, bound, known = spoilt(rig, points, rng)
    found = triangulate(seen_by(rig, xy), rig)
    limit = drawn_from(bound[known], rng)
    assert np.quantile(distances(found, points), 0.99) < 1.2 * np.quantile(limit, 0.99)


def test_what_cannot_belong_together_is_refused(rng):
    rig = ring_rig(3, rng=rng)
    seen = seen_by(rig, rig.project(animal(rng, n_frames=3)))
    with pytest.raises(ValueError, match="'cam_2' that the rig does not have"):
        triangulate(seen, rig.subset(["cam_0", "cam_1"]))
    with pytest.raises(DataError, match="Only the camera 'cam_1' has keypoints"):
        triangulate(seen.subset(["cam_1"]), rig)
    halved = replace(seen, image_sizes=[(1280, 1024), (640, 512), (1280, 1024)])
    with pytest.raises(DataError, match=r"'cam_1' was analysed at 640 x 512 .* 1280 x 1024"):
        triangulate(halved, rig)
    with pytest.raises(ValueError, match="method is 'magic'"):
        triangulate(seen, rig, method="magic")
    with pytest.raises(ValueError, match="min_likelihood is 60"):
        triangulate(seen, rig, min_likelihood=60)
    with pytest.raises(ValueError, match="max_error_px is 0"):
        triangulate(seen, rig, max_error_px=0)
    with pytest.raises(ValueError, match=r"(?s)noise_px .* shape \(3, 10\)"):
        triangulate(seen, rig, noise_px=np.ones((3, 4)))


def test_a_largest_error_in_pixels_holds(rng):
    rig = ring_rig(5, rng=rng)
    points = animal(rng)
    xy = rig.project(points) + rng.normal(scale=3, size=(5, 300, 10, 2))
    found = triangulate(seen_by(rig, xy), rig, max_error_px=6)
    assert np.nanmax(np.where(found.used_views, found.view_errors, np.nan)) < 1.3 * 6
    assert found.n_views.mean() < 5


def test_one_frame_of_few_points_is_enough(rng):
    rig = ring_rig(3, rng=rng)
    points = animal(rng, n_frames=1, n_keypoints=2)
    found = triangulate(seen_by(rig, rig.project(points)), rig)
    np.testing.assert_allclose(found.xyz[:, 0], points, atol=1e-6)
    nothing = triangulate(seen_by(rig, np.full((3, 4, 2, 2), np.nan)), rig)
    assert (nothing.reason == Missing.NOT_SEEN).all()
