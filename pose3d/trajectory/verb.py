"""Refine trajectories: the verb."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from pose3d.keypoints import Keypoints3D, Missing
from pose3d.skeleton import Skeleton
from pose3d.trajectory.limbs import keep_lengths, learn_limbs
from pose3d.trajectory.paths import Measured, as_matrices, find_path
from pose3d.triangulation.fitting import ENTRIES

#: How limbs can be kept.
LIMBS = ("soft", "rigid", "none")

#: A filled point's standard deviation is at most this many times that of the found ones.
_VAGUEST = 10.0


def refine_trajectory(
    keypoints_3d: Keypoints3D,
    skeleton: Skeleton | None = None,
    *,
    limbs: str = "soft",
    order: int = 3,
    max_gap: float = 0.5,
    progress: Callable[[Iterable], Iterable] | None = None,
) -> Keypoints3D:
    """Make paths of points found frame by frame: smooth, without outliers, gaps filled.

    Each keypoint's path is the most likely one where differences of some order between its
    places are normal. How large they are, and a factor on the points' stated spread, are
    learned from the recording by their marginal likelihood. Points that do not fit the path of
    the others are left out. Then the limbs of the skeleton pull the points of each frame to
    their lengths, learned from the recording. Time and memory grow as the number of frames; a
    path has no seams, save at gaps too long to fill.

    Parameters
    ----------
    keypoints_3d : Keypoints3D
        Points with their covariance, as `triangulate` finds them.
    skeleton : Skeleton, optional
        Its edges are the limbs; none unless given.
    limbs : {"soft", "rigid", "none"}
        Limbs that vary as much as is seen in the recording, or keep their length, or none.
    order : int
        Which derivative is kept small: 1 (speed), 2 (acceleration) or 3 (jerk).
    max_gap : float
        Seconds; longer gaps are left open.
    progress : callable, optional
        Wraps the iterable of keypoints, as ``tqdm`` does.

    Returns
    -------
    Keypoints3D
        With the covariance of the path; `filled` is true where there was no point, or one that
        did not fit. A gap stays open where its spread would exceed ten times that of the found
        points. `view_errors`, `used_views` and `reprojection_error` are those of the points that
        were found, NaN and false where none was.

    Raises
    ------
    ValueError
        If an argument is out of range, or the skeleton names other keypoints.
    """
    if limbs not in LIMBS:
        raise ValueError(f"limbs is {limbs!r}; expected one of {', '.join(LIMBS)}.")
    if order not in (1, 2, 3):
        raise ValueError(f"order is {order}; expected 1, 2 or 3.")
    if not max_gap >= 0:
        raise ValueError(f"max_gap is {max_gap}; expected a duration in seconds, 0 or more.")
    if skeleton is not None and skeleton.keypoints != keypoints_3d.keypoints:
        raise ValueError(
            f"The skeleton has the keypoints {', '.join(skeleton.keypoints)} and the points are "
            f"{', '.join(keypoints_3d.keypoints)}. Give the skeleton of this recording."
        )
    seen = keypoints_3d
    xyz, covariance = np.array(seen.xyz), np.array(seen.covariance)
    shared = 0.0 if seen.rig_covariance is None else np.array(seen.rig_covariance)
    covariance -= shared
    used = np.zeros(seen.reason.shape, dtype=bool)
    series = list(np.ndindex(seen.reason.shape[1:]))
    for place in series if progress is None else progress(series):
        where = (slice(None), *place)
        path = find_path(_measured(seen.times, xyz[where], covariance[where]), order, max_gap)
        vague = _too_vague(path, np.isfinite(xyz[where][:, 0]))
        found = np.where(vague[:, np.newaxis], np.nan, path.xyz)
        spread = as_matrices(np.where(vague, np.nan, path.spread))
        xyz[where], covariance[where], used[where] = found, spread, path.used
    if skeleton is not None and limbs != "none" and len(skeleton.edges):
        for individual in range(xyz.shape[1]):
            points, spread = xyz[:, individual], covariance[:, individual]
            known = learn_limbs(points, spread, skeleton.edge_indices, rigid=limbs == "rigid")
            xyz[:, individual], covariance[:, individual] = keep_lengths(points, spread, known)
    return _refined(seen, xyz, covariance, used)


def _measured(times, xyz, covariance):
    """Return one keypoint's points as paths want them."""
    there = np.isfinite(xyz[:, 0]) & np.isfinite(covariance[:, 0, 0])
    entries = np.stack([covariance[:, i, j] for i, j in ENTRIES])
    unit = np.array([1.0, 0, 0, 1, 0, 1])[:, np.newaxis]
    return Measured(
        times,
        np.where(there[:, np.newaxis], xyz, 0.0),
        np.where(there, entries, unit),
        there,
    )


def _too_vague(path, there):
    """Tell filled points that are hardly known."""
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(path.spread[[0, 3, 5]].sum(axis=0))
    usual = np.median(spread[there]) if there.any() else np.nan
    return ~there & ~(spread <= _VAGUEST * usual)


def _refined(seen, xyz, covariance, used):
    """Return the points with what is known of them."""
    present = np.isfinite(xyz[..., 0])
    found = used & present
    reason = np.where(present, Missing.PRESENT, seen.reason).astype(np.uint8)
    # a point that did not fit, in a gap too long to fill
    reason[~present & (reason == Missing.PRESENT)] = Missing.VIEWS_DISAGREE
    rig_covariance = seen.rig_covariance
    if rig_covariance is not None:
        rig_covariance = _carried(rig_covariance, present)
        covariance = covariance + rig_covariance
    return replace(
        seen,
        xyz=xyz,
        covariance=covariance,
        rig_covariance=rig_covariance,
        reprojection_error=np.where(found, seen.reprojection_error, np.nan),
        view_errors=np.where(found, seen.view_errors, np.nan),
        used_views=seen.used_views & found,
        reason=reason,
        filled=present & ~found,
    )


def _carried(rig_covariance, present):
    """Give filled points the calibration's uncertainty of the nearest found ones in time."""
    carried = np.array(rig_covariance)
    frames = np.arange(len(carried))
    for place in np.ndindex(carried.shape[1:3]):
        known = np.flatnonzero(np.isfinite(carried[:, *place, 0, 0]))
        if known.size:
            after = np.searchsorted(known, frames).clip(0, len(known) - 1)
            before = (after - 1).clip(0)
            nearer = frames - known[before] < known[after] - frames
            carried[:, *place] = carried[known[np.where(nearer, before, after)], *place]
    carried[~present] = np.nan
    return carried
