"""Triangulation by ours or by aniposelib, for comparison: one verb, one result."""

from collections.abc import Callable, Iterable

import numpy as np

from calibration.cameras import CameraRig
from pose3d import triangulation
from pose3d.keypoints import Keypoints2D, Keypoints3D
from pose3d.skeleton import Skeleton

#: aniposelib's ways.
ANIPOSE = ("anipose", "anipose-ransac", "anipose-optim")

#: Every method.
METHODS = (*triangulation.METHODS, *ANIPOSE)


def triangulate(
    keypoints_2d: Keypoints2D,
    rig: CameraRig,
    *,
    min_likelihood: float = 0.6,
    method: str = "robust",
    noise_px: float | np.ndarray | None = None,
    max_error_px: float | None = None,
    skeleton: Skeleton | None = None,
    progress: Callable[[Iterable], Iterable] | None = None,
) -> Keypoints3D:
    """Find keypoints in space from where cameras see them.

    Parameters
    ----------
    keypoints_2d, rig, min_likelihood, noise_px, max_error_px, progress
        See `pose3d.triangulation.triangulate`.
    method : str
        robust chooses the views that agree; least-squares and dlt believe all; anipose,
        anipose-ransac and anipose-optim are aniposelib's triangulate, triangulate_ransac and
        triangulate_optim, for comparison: points are aniposelib's, their errors and covariance
        measured as ours are.
    skeleton : Skeleton, optional
        Its edges are anipose-optim's limbs of constant length.

    Returns
    -------
    Keypoints3D
        Points with covariance, errors in each view, and a reason where missing.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}.")
    if method not in ANIPOSE:
        return triangulation.triangulate(
            keypoints_2d,
            rig,
            min_likelihood=min_likelihood,
            method=method,
            noise_px=noise_px,
            max_error_px=max_error_px,
            progress=progress,
        )
    from calibration.anipose import triangulate_group

    unknown = [name for name in keypoints_2d.cameras if name not in rig.names]
    if unknown:
        raise ValueError(f"The keypoints have a camera {unknown[0]!r} that the rig does not have.")
    xy = keypoints_2d.confident(min_likelihood).xy
    limbs = None if skeleton is None else skeleton.edge_indices
    found = [
        triangulate_group(rig.subset(keypoints_2d.cameras), xy[:, :, i], method, limbs)
        for i in range(xy.shape[2])
    ]
    return triangulation.judge_points(
        keypoints_2d,
        rig,
        np.stack([xyz for xyz, _ in found], axis=1),
        used_views=np.stack([used for _, used in found], axis=2),
        min_likelihood=min_likelihood,
        noise_px=noise_px,
    )
