"""How far a result is from the truth of a synthetic recording."""

import numpy as np

from calibration.cameras import CameraRig
from calibration.multiview import align_rigs, move_rig, triangulate_dlt
from pose3d.keypoints import Keypoints2D, Keypoints3D

#: Squared length, in standard deviations, of the ellipsoid that holds 95 % of 3D errors.
_CHI2_95 = 7.815


def judge_rig(rig: CameraRig, true_rig: CameraRig, points_3d: np.ndarray) -> dict[str, float]:
    """Compare calibrated cameras with the true ones.

    Parameters
    ----------
    rig : CameraRig
        As calibrated, in a world of its own.
    true_rig : CameraRig
        As it is, with the same names and unit.
    points_3d : ndarray of shape (..., 3)
        Where things are in the true world, such as the keypoints.

    Returns
    -------
    dict
        ``position_error_mm`` and ``rotation_error_degrees`` of the worst camera once the worlds
        are laid on each other, and ``calibration_error_mm``: the median distance by which points
        seen without error would be misplaced by this calibration.
    """
    motion = align_rigs(rig, true_rig)
    moved = move_rig(rig, motion).subset(true_rig.names)
    positions = [
        np.linalg.norm(camera.position - true.position)
        for camera, true in zip(moved, true_rig, strict=True)
    ]
    turns = [
        np.arccos(np.clip((np.trace(camera.rotation @ true.rotation.T) - 1) / 2, -1, 1))
        for camera, true in zip(moved, true_rig, strict=True)
    ]
    found = triangulate_dlt(moved, true_rig.project(points_3d))
    return {
        "position_error_mm": float(max(positions)),
        "rotation_error_degrees": float(np.degrees(max(turns))),
        "calibration_error_mm": float(np.median(np.linalg.norm(found - points_3d, axis=-1))),
    }


def judge_2d(
    found: Keypoints2D, truth: Keypoints2D, frames: np.ndarray, *, min_likelihood: float
) -> dict[str, float]:
    """Compare image points with the true ones.

    Parameters
    ----------
    found : Keypoints2D
        As a network found them.
    truth : Keypoints2D
        Where they are; the likelihood says whether they are visible.
    frames : ndarray of int or bool
        The frames to judge: those that the network was not trained on.
    min_likelihood : float
        From which a point counts as found.

    Returns
    -------
    dict
        ``median_error_px`` and ``p95_error_px`` of visible keypoints, ``found``: the share of
        the visible ones that are likely enough, and ``hidden_found``: that of the hidden ones.
    """
    errors = np.linalg.norm(found.xy - truth.xy, axis=-1)[:, frames]
    visible = truth.likelihood[:, frames] > 0.5
    likely = found.likelihood[:, frames] >= min_likelihood
    return {
        "median_error_px": _percentile(errors[visible], 50),
        "p95_error_px": _percentile(errors[visible], 95),
        "found": _share(likely[visible]),
        "hidden_found": _share(likely[~visible]),
    }


def judge_3d(
    found: Keypoints3D,
    truth: Keypoints3D,
    frames: np.ndarray,
    *,
    rig: CameraRig,
    true_rig: CameraRig,
) -> dict[str, float]:
    """Compare points in space with the true ones.

    The worlds are laid on each other by the cameras alone, so that the points have no say.

    Parameters
    ----------
    found, truth : Keypoints3D
        As triangulated, and where they are.
    frames : ndarray of int or bool
        The frames to judge.
    rig, true_rig : CameraRig
        The cameras that `found` was triangulated with, and the true ones.

    Returns
    -------
    dict
        ``median_error_mm``, ``p95_error_mm``; ``present``: the share of points that were found;
        ``visible_present``: the same of the points that two cameras or more can see;
        ``median_claimed_mm``: the claimed standard deviation; ``inside_claimed``: the share of
        points within the ellipsoid that is claimed to hold 95 %.
    """
    motion = align_rigs(rig, true_rig)
    moved = found.xyz[frames] @ motion[:3, :3].T + motion[:3, 3]
    difference = moved - truth.xyz[frames]
    covariance = motion[:3, :3] @ found.covariance[frames] @ motion[:3, :3].T
    there = np.isfinite(difference).all(axis=-1)
    errors = np.linalg.norm(difference[there], axis=-1)
    claimed = np.sqrt(np.trace(covariance[there], axis1=-2, axis2=-1))
    solved = np.linalg.solve(covariance[there], difference[there][..., np.newaxis])[..., 0]
    squared = (difference[there] * solved).sum(axis=-1)
    seen_twice = truth.n_views[frames] >= 2
    return {
        "median_error_mm": _percentile(errors, 50),
        "p95_error_mm": _percentile(errors, 95),
        "present": _share(there),
        "visible_present": _share(there[seen_twice]),
        "median_claimed_mm": _percentile(claimed, 50),
        "inside_claimed": _share(squared <= _CHI2_95),
    }


def _percentile(values, percent):
    """Percentile of what is there; NaN of nothing."""
    return float(np.percentile(values, percent)) if values.size else float("nan")


def _share(flags):
    """Share of what is true; NaN of nothing."""
    return float(np.mean(flags)) if flags.size else float("nan")
