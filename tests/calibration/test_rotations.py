import cv2
import numpy as np
import pytest

from calibration.rotations import (
    cross_matrix,
    nearest_rotations,
    rotation_matrices,
    rotation_vectors,
)


def test_matrices_are_those_of_opencv(rng):
    vectors = rng.normal(size=(5, 4, 3))
    expected = [[cv2.Rodrigues(vector)[0] for vector in row] for row in vectors]
    np.testing.assert_allclose(rotation_matrices(vectors), expected, atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 1.0, 3.0, np.pi - 1e-7, np.pi])
def test_vectors_come_back_at_every_angle(angle, rng):
    axes = rng.normal(size=(200, 3))
    vectors = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    found = rotation_vectors(rotation_matrices(vectors))
    if angle == np.pi:  # both directions of the axis are the same half turn
        found *= np.sign((found * vectors).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, vectors, atol=1e-15 + 1e-14 * angle)


def test_cross_matrix_takes_the_cross_product(rng):
    first, second = rng.normal(size=(2, 6, 3))
    found = np.einsum("nij,nj->ni", cross_matrix(first), second)
    np.testing.assert_allclose(found, np.cross(first, second))


def test_nearest_rotation_of_a_rotation_is_itself_and_never_a_mirror(rng):
    rotations = rotation_matrices(rng.normal(size=(10, 3)))
    np.testing.assert_allclose(nearest_rotations(2.5 * rotations), rotations, atol=1e-12)
    mirrored = nearest_rotations(rotations @ np.diag([1.0, 1.0, -0.1]))
    np.testing.assert_allclose(np.linalg.det(mirrored), 1.0)
