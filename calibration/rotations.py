"""Rotation matrices and vectors, many at once.

``cv2.Rodrigues`` takes one at a time and calls every turn below 1e-5 rad none.
"""

import numpy as np


def cross_matrix(vectors: np.ndarray) -> np.ndarray:
    """Return the matrices (..., 3, 3) that take the cross product with vectors (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rotation_matrices(vectors: np.ndarray) -> np.ndarray:
    """Return the rotation of each vector.

    Parameters
    ----------
    vectors : ndarray of shape (..., 3)
        Axis times angle in radians.

    Returns
    -------
    ndarray of shape (..., 3, 3)
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., np.newaxis, np.newaxis]
    cross = cross_matrix(vectors)
    # sinc(x) is sin(pi x) / (pi x); both factors are smooth at zero
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + first * cross + second * (cross @ cross)


def rotation_vectors(matrices: np.ndarray) -> np.ndarray:
    """Return the vector, axis times angle in radians from 0 to pi, of each rotation.

    Parameters
    ----------
    matrices : ndarray of shape (..., 3, 3)

    Returns
    -------
    ndarray of shape (..., 3)
        Exact to rounding, at tiny turns and half turns too.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1)
    trace = diagonal.sum(axis=-1)
    # four forms of the same quaternion (w, x, y, z), each scaled by another of its entries
    symmetric = matrices + np.swapaxes(matrices, -1, -2)
    skew = matrices - np.swapaxes(matrices, -1, -2)
    turn = np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1)
    forms = np.empty((*matrices.shape[:-2], 4, 4))
    forms[..., 0, 0] = 1 + trace
    forms[..., 0, 1:] = forms[..., 1:, 0] = turn
    forms[..., 1:, 1:] = symmetric
    for i in range(3):
        forms[..., 1 + i, 1 + i] = 1 - trace + 2 * diagonal[..., i]
    best = np.argmax(np.diagonal(forms, axis1=-2, axis2=-1), axis=-1)
    form = np.take_along_axis(forms, best[..., np.newaxis, np.newaxis], axis=-2)[..., 0, :]
    form = form * np.where(form[..., :1] < 0, -1.0, 1.0)
    sine = np.linalg.norm(form[..., 1:], axis=-1)
    angle = 2 * np.arctan2(sine, form[..., 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(sine > 0, angle / sine, 0.0)
    return factor[..., np.newaxis] * form[..., 1:]


def nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """Return the rotation nearest to each matrix (..., 3, 3), such as a mean of rotations."""
    u, _, vt = np.linalg.svd(matrices)
    signs = np.ones((*matrices.shape[:-2], 3))
    signs[..., 2] = np.linalg.det(u) * np.linalg.det(vt)
    return (u * signs[..., np.newaxis, :]) @ vt


def mean_motion(motions: np.ndarray) -> np.ndarray:
    """Return the middle of rigid motions (n, 4, 4): median shift, mean of the nearer turns."""
    rotation = nearest_rotations(motions[:, :3, :3].mean(axis=0))
    off = np.linalg.norm(rotation_vectors(motions[:, :3, :3] @ rotation.T), axis=1)
    near = off <= np.median(off) * 2 + 1e-9
    out = np.eye(4)
    out[:3, :3] = nearest_rotations(motions[near, :3, :3].mean(axis=0))
    out[:3, 3] = np.median(motions[near, :3, 3], axis=0)
    return out
