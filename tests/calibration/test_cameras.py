"""Lenses, cameras and rigs: what they do to a ray, and what they refuse to be."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration import lenses
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.synthetic import ring_rig

MATRIX = [[1000.0, 0.0, 640.0], [0.0, 1010.0, 512.0], [0.0, 0.0, 1.0]]
DISTS = {
    "pinhole": (),
    "brown": (-0.3, 0.1, 0.001, -0.002, 0.01),
    "rational": (-0.3, 0.1, 0.001, -0.002, 0.01, 0.02, 0.03, 0.01),
    "fisheye": (0.05, -0.01, 0.003, 0.001),
}


def lens(model="brown", matrix=MATRIX):
    return Intrinsics(matrix, DISTS[model], (1280, 1024), model)


@pytest.mark.parametrize("model", DISTS)
def test_projection_is_opencvs(model, rng):
    points = rng.uniform([-0.6, -0.5, 1.0], [0.6, 0.5, 1.0], size=(200, 3)) * 700
    zero = np.zeros(3)
    if model == "fisheye":
        theirs = cv2.fisheye.projectPoints(
            points[:, None], zero, zero, np.array(MATRIX), np.array(DISTS[model])
        )[0]
    else:
        theirs = cv2.projectPoints(points, zero, zero, np.array(MATRIX), np.array(DISTS[model]))[0]
    np.testing.assert_allclose(lens(model).project(points), theirs.reshape(-1, 2), atol=1e-9)


@pytest.mark.parametrize("model", DISTS)
@given(x=st.floats(-0.5, 0.5), y=st.floats(-0.4, 0.4), skew=st.floats(-5, 5))
def test_undistorting_undoes_projecting(model, x, y, skew):
    skewed = lens(model, [[1000.0, skew, 640.0], *MATRIX[1:]])
    there = skewed.project(np.array([x, y, 1.0]))
    np.testing.assert_allclose(skewed.undistort(there), [x, y], atol=1e-12)


@pytest.mark.parametrize("model", DISTS)
def test_the_jacobian_of_a_lens_is_that_of_small_steps(model, rng):
    points = rng.uniform(-0.5, 0.5, size=(50, 2))
    dist, step = np.array(DISTS[model]), 1e-6
    small = [
        (lenses.distort(points + d, dist, model) - lenses.distort(points - d, dist, model))
        / (2 * step)
        for d in np.eye(2) * step
    ]
    jacobian = lenses.distort_jacobian(points, dist, model)
    np.testing.assert_allclose(jacobian, np.stack(small, axis=-1), atol=1e-8)


def test_a_pixel_that_no_ray_of_the_lens_reaches_has_none():
    strong = Intrinsics(MATRIX, (-0.4, 0.0, 0.0, 0.0, 0.0), (1280, 1024))
    assert np.isnan(strong.undistort(np.array([5000.0, 512.0]))).all()


def test_points_behind_a_camera_are_not_seen():
    assert np.isnan(lens().project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))).all()


def test_missing_points_stay_missing():
    assert np.isnan(ring_rig(3).project(np.full((2, 3), np.nan))).all()


def test_the_principal_point_of_resized_images_moves_with_the_pixel_centres():
    half = lens().resized((640, 512))
    points = np.array([[0.1, 0.2, 1.0], [-0.3, 0.1, 1.0]])
    np.testing.assert_allclose(half.project(points), (lens().project(points) + 0.5) / 2 - 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "thin"}, "model is 'thin'; expected one of pinhole, brown"),
        ({"dist": (0.1, 0.2)}, "dist has 2 coefficients; the model 'brown' takes 5"),
        ({"matrix": np.eye(3)[:2]}, r"matrix has shape \(2, 3\); expected \(3, 3\)"),
        ({"matrix": np.transpose(MATRIX)}, "transposed"),
        ({"matrix": [[-1.0, 0, 0], [0, 1.0, 0], [0, 0, 1]]}, "focal lengths -1.0 and 1.0"),
        ({"matrix": [[np.nan, 0, 0], [0, 1.0, 0], [0, 0, 1]]}, "matrix holds nan at index"),
        ({"image_size": (0, 10)}, "both sides must be positive"),
        ({"image_size": 640}, r"expected \(width, height\)"),
    ],
)
def test_a_lens_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(lens(), **change)


def test_a_camera_projects_from_where_it_stands():
    camera = Camera("a", lens("pinhole"), [0.0, np.pi, 0.0], [0.0, 0.0, 500.0])
    np.testing.assert_allclose(camera.position, [0, 0, 500], atol=1e-9)
    np.testing.assert_allclose(camera.project(np.zeros(3)), [640.0, 512.0])
    assert camera.camera_from_world.shape == (4, 4)


def test_arrays_of_a_camera_cannot_be_changed():
    camera = ring_rig(2).cameras[0]
    with pytest.raises(ValueError, match="read-only"):
        camera.tvec[0] = 1.0


def test_a_rig_is_asked_by_name():
    rig = ring_rig(3)
    assert rig["cam_1"].name == "cam_1"
    assert rig.subset(["cam_2", "cam_0"]).names == ("cam_2", "cam_0")
    with pytest.raises(KeyError, match="No camera 'top' in this rig; it has cam_0, cam_1, cam_2"):
        rig["top"]


@pytest.mark.parametrize(("other", "how"), [("left", "twice"), ("Left", "differ only in case")])
def test_names_of_cameras_are_distinct(other, how):
    cameras = [replace(ring_rig(2).cameras[0], name=name) for name in ("left", other)]
    with pytest.raises(ValueError, match=how):
        CameraRig(tuple(cameras))


def test_the_covariance_of_part_of_a_rig_is_its_own():
    rig = ring_rig(3)
    side = sum(camera.n_parameters for camera in rig)
    rig = replace(rig, covariance=np.diag(np.arange(side, dtype=float)))
    part = rig.subset(["cam_2", "cam_0"])
    np.testing.assert_array_equal(np.diag(part.covariance), [*range(30, 45), *range(15)])
    with pytest.raises(ValueError, match="covariance has shape"):
        replace(rig, covariance=np.eye(3))


def test_a_copied_camera_is_noticed_and_neighbours_are_not():
    rig = ring_rig(4)
    copy = replace(rig["cam_1"], name="copy")
    assert CameraRig((*rig.cameras, copy)).coincident() == (("cam_1", "copy"),)
    beside = replace(rig["cam_1"], name="beside", tvec=rig["cam_1"].tvec + [0.5, 0, 0])
    assert CameraRig((*rig.cameras, beside)).coincident() == ()


def test_a_unit_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="units is 'feet'; expected one of um, mm"):
        replace(ring_rig(2), units="feet")
