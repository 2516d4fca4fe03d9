"""How far a detector's image points lie from the truth, learned from how views disagree."""

from collections.abc import Sequence

import numpy as np

from pose3d.keypoints import Missing
from pose3d.triangulation.choosing import smallest_median
from pose3d.triangulation.fitting import ENTRIES, Views
from pose3d.triangulation.locating import locate
from pose3d.triangulation.rays import RayTable, look_up

#: Standard deviations at which a view is no longer believed: one true view in 25,000.
GATE = 4.5

#: Points that are enough for a first idea of the spread.
_FEW = 1000

#: Most rounds of fitting and measuring ...
_ROUNDS = 6

#: ... which end when they change the spread by less than this share, on average.
_SETTLED = 0.02

#: Errors that those of one camera, or of one keypoint, must outweigh to set it apart ...
_PRIOR = 20.0

#: ... and those of one keypoint in one camera. More, since there errors of a detector are
#: much the same from frame to frame: 100 frames say little more than a few.
_OWN = 300.0

#: No camera's detections are better than this share of the usual spread.
_FINEST = 0.2

#: Below this no detector goes, px; it keeps exact data from being weighed by their rounding.
_LEAST = 0.02


def learn_noise(
    views: Views,
    tables: Sequence[RayTable],
    keypoint: np.ndarray,
    n_keypoints: int,
    *,
    largest: float,
    max_error_px: float = np.inf,
) -> np.ndarray | None:
    """Estimate the detector's spread for each camera and keypoint.

    The views of a point that more than one camera saw must agree; what is left of their
    errors after the fit, divided by the share of it that the fit could not take up (the
    redundancy, which adds up to the number of equations less three), is their variance.

    Parameters
    ----------
    views : Views
        A sample of points seen by at least two cameras, whitened as if the spread were 1 px.
    tables : sequence of RayTable
        One for each camera.
    keypoint : ndarray of int of shape (n_points,)
        Which keypoint each point is.
    n_keypoints : int
        Number of keypoints.
    largest : float
        Spread in px from which on the views cannot be said to see the same points.
    max_error_px : float
        Distance in px from which a view is never believed.

    Returns
    -------
    ndarray of shape (n_cameras, n_keypoints) or None
        Standard deviation of one coordinate in px; None where the views do not agree.
    """
    n_cameras = len(views.cameras)
    rays = look_up(tables, views.pixels)
    seen = views.seen & ~np.isnan(rays[:, 0])
    whiten = np.where(seen[:, np.newaxis], views.whiten, 0.0)
    some = np.count_nonzero(seen, axis=0) >= 2
    views, keypoint = Views(views.cameras, views.pixels, whiten).take(some), keypoint[some]
    if not some.any():
        return None
    few = np.arange(0, len(keypoint), max(len(keypoint) // _FEW, 1))
    median = np.median(smallest_median(views.take(few), rays[:, :, some][:, :, few]))
    # the median square of two normal errors is 2 ln 2 of one's variance; the pair that fits
    # best flatters the spread, by a factor of two or so
    common = max(2 * np.sqrt(median / (2 * np.log(2))), _LEAST)
    spread = np.full((n_cameras, n_keypoints), common)
    for _ in range(_ROUNDS):
        if not np.median(spread) <= largest:
            return None
        before = spread
        spread = _one_round(views, tables, keypoint, before, max_error_px)
        if spread is None:
            return None
        # a camera that is further off than any detector must not be believed for it
        spread = np.minimum(spread, largest)
        if np.abs(spread / before - 1).mean() < _SETTLED:
            break
    return spread


def _one_round(views, tables, keypoint, spread, max_error_px):
    """Fit with one idea of the spread and return the next, or None where nothing agrees."""
    n_cameras, n_keypoints = spread.shape
    per_view = spread[:, keypoint]
    scaled = Views(views.cameras, views.pixels, views.whiten / per_view[:, np.newaxis])
    limit = squared_limit(scaled, max_error_px)
    located = locate(scaled, tables, limit=limit)
    there = np.flatnonzero(located.reason == Missing.PRESENT)
    if 2 * len(there) < len(keypoint):
        return None
    errors = located.errors.take(there)
    used = errors.used
    # trace of a view's own information times the point's covariance: what the fit took up
    taken = sum(
        (1 if j == k else 2) * (errors.rows[:, :, j] * errors.rows[:, :, k]).sum(axis=1) * spread
        for (j, k), spread in zip(ENTRIES, located.covariance[:, there], strict=True)
    )
    redundancy = np.where(used, np.clip(2 - taken, 0, 2), 0.0)
    squares = np.where(used, errors.squares, 0.0) * per_view[:, there] ** 2
    common = squares.sum() / redundancy.sum()
    # two views share one error: which of them made it cannot be told
    telling = np.count_nonzero(used, axis=0) > 2
    index = np.arange(n_cameras)[:, np.newaxis] * n_keypoints + keypoint[there]

    def total(part, of):
        sums = np.bincount(index.ravel(), np.where(of, part, 0.0).ravel(), spread.size)
        return sums.reshape(spread.shape)

    own, count = total(squares, telling), total(redundancy, telling)
    by_camera = (own.sum(axis=1) + _PRIOR * common) / (count.sum(axis=1) + _PRIOR)
    # that one camera is all but exact and the others adjust to it explains any views well
    by_camera = np.maximum(by_camera, _FINEST**2 * common)[:, np.newaxis]
    by_keypoint = ((total(squares, True) / by_camera).sum(axis=0) + _PRIOR) / (
        total(redundancy, True).sum(axis=0) + _PRIOR
    )
    return np.sqrt((own + _OWN * by_camera * by_keypoint) / (count + _OWN)).clip(min=_LEAST)


def squared_limit(views: Views, max_error_px: float) -> np.ndarray:
    """Return the squared whitened error from which views are not believed.

    That of `GATE` standard deviations, or of a distance in px if that is smaller; ndarray of
    shape (n_cameras, n_points).
    """
    scale = views.whiten[:, 0]
    if views.whiten.shape[1] == 3:
        scale = (scale + views.whiten[:, 2]) / 2
    with np.errstate(invalid="ignore"):
        capped = np.where(scale > 0, (max_error_px * scale) ** 2, np.inf)
    return np.minimum(capped, GATE**2)
