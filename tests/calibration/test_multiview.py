import numpy as np
import pytest
from scipy.io import loadmat

from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.multiview import (
    align_points,
    align_rigs,
    move_rig,
    projection_jacobian,
    rays,
    reprojection_errors,
    triangulate_dlt,
)
from calibration.rotations import rotation_matrices, rotation_vectors
from calibration.synthetic import ring_rig

MODELS = ("pinhole", "brown", "rational", "fisheye")


def skewed(rig):
    """Give every camera a skew of a few pixels."""
    cameras = []
    for camera in rig:
        lens = camera.intrinsics
        matrix = lens.matrix.copy()
        matrix[0, 1] = -4.0
        lens = Intrinsics(matrix, lens.dist, lens.image_size, lens.model)
        cameras.append(Camera(camera.name, lens, camera.rvec, camera.tvec))
    return CameraRig(tuple(cameras), rig.units)


def motion(rng, factor=1.0):
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    matrix = np.eye(4)
    matrix[:3, :3] = factor * turn
    matrix[:3, 3] = rng.normal(scale=300, size=3)
    return matrix


def moved(points, matrix):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n_cameras", [2, 3, 12])
def test_triangulation_undoes_projection(model, n_cameras, rng):
    rig = skewed(ring_rig(n_cameras, model=model, rng=rng))
    points_3d = rng.uniform(-150, 150, size=(20, 5, 3))  # mm
    found = triangulate_dlt(rig, rig.project(points_3d))
    np.testing.assert_allclose(found, points_3d, atol=1e-7)


@pytest.fixture
def dannce_mouse(data_folder):
    """Six cameras with skew, hand labels in 3D (mm) and their exact projections."""
    path = data_folder / "dannce_mouse_1" / "label3d_dannce.mat"
    file = loadmat(path, squeeze_me=True, struct_as_record=False)
    cameras = []
    for i, entry in enumerate(file["params"]):
        k1, k2, k3 = entry.RDistort
        lens = Intrinsics(entry.K.T, [k1, k2, *entry.TDistort, k3], (1152, 1024))
        rvec = rotation_vectors(entry.r.T)
        cameras.append(Camera(f"Camera{i + 1}", lens, rvec, entry.t))
    labels = file["labelData"]
    seen = np.stack([entry.data_2d.reshape(-1, 22, 2) for entry in labels])
    return CameraRig(tuple(cameras)), labels[0].data_3d.reshape(-1, 22, 3), seen


def test_dannce_labels_come_back_to_a_millionth_of_a_millimetre(dannce_mouse):
    rig, labels, seen = dannce_mouse
    np.testing.assert_allclose(rig.project(labels), seen, atol=1e-9)
    assert np.isfinite(labels[..., 0]).sum() > 1500
    np.testing.assert_allclose(triangulate_dlt(rig, seen), labels, atol=1e-6)


def test_points_seen_by_fewer_than_two_cameras_are_missing(rng):
    rig = ring_rig(4)
    points_2d = rig.project(rng.uniform(-100, 100, size=(3, 3)))
    points_2d[1:, 0] = np.nan
    points_2d[:, 1] = np.nan
    found = triangulate_dlt(rig, points_2d)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), [True, True, False])


def test_views_of_no_weight_do_not_count(rng):
    rig = ring_rig(4)
    points_3d = rng.uniform(-100, 100, size=(6, 3))
    points_2d = rig.project(points_3d)
    points_2d[2] += 200.0
    weights = np.ones((4, 6))
    weights[2, :3] = 0.0
    weights[2, 3:] = np.nan
    np.testing.assert_allclose(triangulate_dlt(rig, points_2d, weights), points_3d, atol=1e-7)
    weights[:3] = 0.0
    assert np.isnan(triangulate_dlt(rig, points_2d, weights)).all()
    with pytest.raises(ValueError, match="weight is 0"):
        triangulate_dlt(rig, points_2d, weights - 1.0)


def test_triangulation_is_as_exact_as_the_noise_allows(rng):
    rig = ring_rig(4, rng=rng)
    points_3d = rng.uniform(-150, 150, size=(4000, 3))
    sigma = np.array([0.5, 0.5, 2.0, 2.0])[:, None]
    points_2d = rig.project(points_3d) + rng.normal(size=(4, 4000, 2)) * sigma[..., None]
    jacobians = np.stack([projection_jacobian(camera, points_3d) for camera in rig])
    jacobians /= sigma[..., None, None]
    bound = np.linalg.inv(np.einsum("cnki,cnkj->nij", jacobians, jacobians))
    error = triangulate_dlt(rig, points_2d, np.broadcast_to(sigma**-2, (4, 4000))) - points_3d
    efficiency = np.sqrt((error**2).sum() / np.trace(bound, axis1=1, axis2=2).sum())
    assert efficiency < 1.03  # the linear estimate ignores how distortion changes; noise 1 %
    equal = triangulate_dlt(rig, points_2d) - points_3d
    assert (equal**2).sum() > 1.2 * (error**2).sum()


def test_cameras_at_one_place_give_no_point(rng):
    camera = ring_rig(2).cameras[0]
    twin = Camera("twin", camera.intrinsics, camera.rvec, camera.tvec)
    rig = CameraRig((camera, twin))
    points_2d = rig.project(rng.uniform(-100, 100, size=(5, 3)))
    assert np.isnan(triangulate_dlt(rig, points_2d)).all()


def test_order_of_cameras_and_a_blind_camera_change_nothing(rng):
    rig = ring_rig(4, rng=rng)
    points_2d = rig.project(rng.uniform(-100, 100, size=(30, 3))) + rng.normal(size=(4, 30, 2))
    expected = triangulate_dlt(rig.subset(rig.names[:3]), points_2d[:3])
    blind = points_2d.copy()
    blind[3] = np.nan
    np.testing.assert_allclose(triangulate_dlt(rig, blind), expected, atol=1e-8)
    turned = triangulate_dlt(rig.subset(rig.names[::-1]), points_2d[::-1])
    np.testing.assert_allclose(turned, triangulate_dlt(rig, points_2d), atol=1e-8)


def test_wrong_shapes_are_refused_with_the_cameras_names():
    with pytest.raises(ValueError, match="cam_0, cam_1, cam_2"):
        triangulate_dlt(ring_rig(3), np.zeros((2, 5, 2)))
    with pytest.raises(ValueError, match="cam_0, cam_1"):
        rays(ring_rig(2), np.zeros(2))


@pytest.mark.parametrize("model", MODELS)
def test_jacobian_is_the_slope_of_the_projection(model, rng):
    camera = skewed(ring_rig(2, model=model, rng=rng)).cameras[1]
    points_3d = rng.uniform(-150, 150, size=(4, 7, 3))
    step = 1e-3
    slopes = [
        (camera.project(points_3d + step * axis) - camera.project(points_3d - step * axis))
        / (2 * step)
        for axis in np.eye(3)
    ]
    found = projection_jacobian(camera, points_3d)
    np.testing.assert_allclose(found, np.stack(slopes, axis=-1), atol=1e-7)
    behind = camera.position - 10 * camera.rotation[2]
    assert np.isnan(projection_jacobian(camera, behind)).all()


def test_rays_pass_through_the_points(rng):
    rig = skewed(ring_rig(3, rng=rng))
    points_3d = rng.uniform(-150, 150, size=(8, 2, 3))
    origins, directions = rays(rig, rig.project(points_3d))
    towards = points_3d - origins[:, None, None]
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    np.testing.assert_allclose(directions, towards, atol=1e-12)


def test_reprojection_errors_are_distances_in_pixels(rng):
    rig = ring_rig(2)
    points_3d = rng.uniform(-100, 100, size=(5, 3))
    points_2d = rig.project(points_3d) + [3.0, 4.0]
    points_2d[0, 0] = np.nan
    expected = np.full((2, 5), 5.0)
    expected[0, 0] = np.nan
    np.testing.assert_allclose(reprojection_errors(rig, points_3d, points_2d), expected)


@pytest.mark.parametrize("factor", [1.0, 0.001])
def test_aligned_points_meet(factor, rng):
    points, matrix = rng.normal(size=(4, 5, 3)), motion(rng, factor)
    onto = moved(points, matrix)
    points[0, 0] = np.nan
    found = align_points(points, onto, scale=factor != 1)
    np.testing.assert_allclose(found, matrix, atol=1e-9)


def test_alignment_never_mirrors(rng):
    points = rng.normal(size=(10, 3))
    found = align_points(points, points * [1, 1, -1])
    assert np.linalg.det(found[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize("n_cameras", [2, 5])
@pytest.mark.parametrize("factor", [1.0, 0.001])
def test_moving_rig_and_points_together_changes_no_image(n_cameras, factor, rng):
    rig, matrix = ring_rig(n_cameras, rng=rng), motion(rng, factor)
    points_3d = rng.uniform(-100, 100, size=(9, 3))
    other = move_rig(rig, matrix)
    np.testing.assert_allclose(other.project(moved(points_3d, matrix)), rig.project(points_3d))
    found = align_rigs(rig, other.subset(other.names[::-1]), scale=factor != 1)
    np.testing.assert_allclose(found, matrix, atol=1e-8)
    with pytest.raises(ValueError, match="expected a rotation"):
        move_rig(rig, np.diag([1.0, 2.0, 1.0, 1.0]))


def test_covariance_moves_with_the_rig(rng):
    rig = ring_rig(2)
    side = 2 * rig.cameras[0].n_parameters
    root = rng.normal(size=(side, side)) * 1e-6
    rig = CameraRig(rig.cameras, rig.units, root @ root.T)
    matrix = motion(rng, 2.0)
    other = move_rig(rig, matrix)
    # the same change of the first camera, made before and after the motion
    change = root[:, 0]

    def shaken(rig, change):
        camera = rig.cameras[0]
        turn = rotation_matrices(change[:3]) @ camera.rotation
        return turn, camera.tvec + change[3:6]

    turn, tvec = shaken(rig, change)
    before = Camera("cam_0", rig.cameras[0].intrinsics, rotation_vectors(turn), tvec)
    before = move_rig(CameraRig((before,)), matrix).cameras[0]
    increment = rotation_vectors(before.rotation @ other.cameras[0].rotation.T)
    expected = np.concatenate([increment, before.tvec - other.cameras[0].tvec])
    alone = CameraRig(rig.cameras, rig.units, np.outer(change, change))
    found = move_rig(alone, matrix).covariance[:6, :6]
    np.testing.assert_allclose(found, np.outer(expected, expected), rtol=1e-3, atol=1e-17)
