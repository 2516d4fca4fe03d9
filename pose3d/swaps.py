"""Left taken for right in one view: found by the other views, and repaired."""

import warnings
from dataclasses import replace

import numpy as np

from calibration.cameras import CameraRig
from pose3d.keypoints import Keypoints2D
from pose3d.skeleton import Skeleton
from pose3d.triangulation import triangulate


def find_swaps(
    keypoints_2d: Keypoints2D,
    rig: CameraRig,
    skeleton: Skeleton,
    *,
    min_likelihood: float = 0.6,
    far_px: float = 6.0,
) -> np.ndarray:
    """Find where a camera took left for right.

    The other cameras say where left and right are; a swap is where the two points fit far better
    when they are exchanged. Where most cameras are wrong at once nothing can be told.

    Parameters
    ----------
    keypoints_2d, rig, min_likelihood
        What the cameras saw, three of them or more, and the likelihood that counts.
    skeleton : Skeleton
        Its symmetric pairs.
    far_px : float
        Distance from which a point is off, px.

    Returns
    -------
    ndarray of bool of shape (n_cameras, n_frames, n_individuals, n_pairs)
        Where the pair is swapped.
    """
    rig = rig.subset(keypoints_2d.cameras)
    seen = keypoints_2d.confident(min_likelihood)
    pairs = _pairs(skeleton)
    swapped = np.zeros((*seen.xy.shape[:3], len(pairs)), dtype=bool)
    if len(rig.names) < 3 or not len(pairs):
        return swapped
    left, right = pairs.T
    for i, name in enumerate(rig.names):
        rest = [other for other in rig.names if other != name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = triangulate(seen.subset(rest), rig, min_likelihood=0.0)
        expected = rig[name].project(found.xyz)
        own, one, two = seen.xy[i], expected[..., left, :], expected[..., right, :]
        kept = [_apart(own, k, at) for k, at in ((left, one), (right, two))]
        turned = [_apart(own, k, at) for k, at in ((left, two), (right, one))]
        with np.errstate(invalid="ignore"):
            worse = np.minimum(*kept) > far_px
            better = np.maximum(*turned) < 0.4 * np.minimum(*kept)
        swapped[i] = worse & better
    return swapped


def _apart(own, keypoints, expected):
    """Return distances of some keypoints from where they should be."""
    return np.linalg.norm(own[..., keypoints, :] - expected, axis=-1)


def repair_swaps(keypoints_2d: Keypoints2D, skeleton: Skeleton, swapped: np.ndarray) -> Keypoints2D:
    """Exchange left and right where a camera took one for the other.

    Parameters
    ----------
    keypoints_2d : Keypoints2D
        What each camera saw.
    skeleton : Skeleton
        Its symmetric pairs.
    swapped : ndarray of bool of shape (n_cameras, n_frames, n_individuals, n_pairs)
        As `find_swaps` gives it.
    """
    order = np.broadcast_to(np.arange(len(skeleton.keypoints)), keypoints_2d.likelihood.shape)
    order = order.copy()
    for k, (left, right) in enumerate(_pairs(skeleton)):
        order[..., left] = np.where(swapped[..., k], right, left)
        order[..., right] = np.where(swapped[..., k], left, right)
    covariance = keypoints_2d.covariance
    if covariance is not None:
        covariance = np.take_along_axis(covariance, order[..., np.newaxis, np.newaxis], axis=3)
    return replace(
        keypoints_2d,
        xy=np.take_along_axis(keypoints_2d.xy, order[..., np.newaxis], axis=3),
        likelihood=np.take_along_axis(keypoints_2d.likelihood, order, axis=3),
        covariance=covariance,
    )


def _pairs(skeleton):
    """Return the indices of the symmetric pairs, (n_pairs, 2)."""
    index = {name: i for i, name in enumerate(skeleton.keypoints)}
    return np.array([[index[a], index[b]] for a, b in skeleton.symmetric], dtype=int).reshape(-1, 2)
