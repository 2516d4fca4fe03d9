"""How exact a calibration can be: the Cramer-Rao bound of what the cameras saw.

The normal matrix of a rigid-board adjustment at the truth, boards eliminated, the first camera
held: its inverse times the variance of a corner is the least covariance that an unbiased
estimate can have. Rigs drawn from it are scored like estimates.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calibration.boards import BoardDetections
from calibration.cameras import Camera, CameraRig
from calibration.levenberg import Adjustment
from calibration.multiview import align_points, triangulate_dlt
from calibration.rotations import rotation_matrices, rotation_vectors


def least_covariance(
    rig: CameraRig,
    detections: BoardDetections,
    board_poses: np.ndarray,
    free: Sequence[np.ndarray],
    noise_px: float,
) -> np.ndarray:
    """Return the least covariance with which a rig can be known.

    Parameters
    ----------
    rig : CameraRig
        The true cameras; the place of the first is held.
    detections : BoardDetections
        Which corners each camera saw.
    board_poses : ndarray of shape (n_frames, 4, 4)
        World from board, the truth.
    free : sequence of ndarray of bool
        Per camera, which parameters are unknown (see `calibration.bundle.free_parameters`).
    noise_px : float
        Standard deviation of a corner's coordinate.

    Returns
    -------
    ndarray of shape (n_parameters, n_parameters)
        In the order of `CameraRig.covariance`.
    """
    problem = Adjustment(rig, detections, board_poses, free)
    used = np.isfinite(detections.corners[..., 0])
    system = problem.normals(problem.start, used, None)
    reduced, *_ = problem.reduce(system, 0.0)
    scale = np.sqrt(np.maximum(reduced.diagonal(), 1e-300))
    inverse = np.linalg.inv(reduced / np.outer(scale, scale)) / np.outer(scale, scale)
    side = sum(camera.n_parameters for camera in rig)
    rows = np.flatnonzero(np.concatenate(problem.free))
    covariance = np.zeros((side, side))
    covariance[np.ix_(rows, rows)] = noise_px**2 * inverse
    return covariance


def drawn_rigs(rig: CameraRig, covariance: np.ndarray, n: int, rng: np.random.Generator):
    """Yield rigs that differ from a rig as its covariance says."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    for _ in range(n):
        change = root @ rng.normal(size=len(root))
        cameras = []
        for camera in rig:
            start, stop = rig.parameter_range(camera.name)
            delta = change[start:stop]
            matrix = camera.intrinsics.matrix.copy()
            matrix[[0, 1, 0, 1], [0, 1, 2, 2]] += delta[6:10]
            lens = replace(
                camera.intrinsics, matrix=matrix, dist=camera.intrinsics.dist + delta[10:]
            )
            rotation = rotation_matrices(delta[:3]) @ camera.rotation
            tvec = camera.tvec + delta[3:6]
            cameras.append(Camera(camera.name, lens, rotation_vectors(rotation), tvec))
        yield CameraRig(tuple(cameras), rig.units)


def volume_error(found: CameraRig, truth: CameraRig, points: np.ndarray) -> float:
    """Return how far a rig misplaces points, root mean square, after the best rigid motion.

    Parameters
    ----------
    found, truth : CameraRig
        The rig in question and the one that took the images.
    points : ndarray of shape (n_points, 3)
        Points in the filmed volume, in the truth's world.
    """
    seen = triangulate_dlt(found, truth.project(points))
    good = np.isfinite(seen).all(axis=1)
    motion = align_points(seen[good], points[good])
    off = seen[good] @ motion[:3, :3].T + motion[:3, 3] - points[good]
    return float(np.sqrt((off**2).sum(axis=1).mean()))
