"""How far a detector's image points lie from the truth, learned from how views disagree."""

import numpy as np

from pose3d.triangulation.choosing import smallest_median
from pose3d.triangulation.fitting import SQUARE, Views, measure_errors
from pose3d.triangulation.locator import Locator
from pose3d.triangulation.rays import look_up
from pose3d.triangulation.seen import Points, Seen

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


def learn_noise(seen: Seen, locator: Locator, *, largest: float) -> np.ndarray | None:
    """Estimate the detector's spread for each camera and keypoint.

    The views of a point that more than one camera saw must agree; what is left of their
    errors after the fit, divided by the share of it that the fit could not take up (the
    redundancy, which adds up to the number of equations less three), is their variance.

    Parameters
    ----------
    seen : Seen
        A sample of points.
    locator : Locator
        Finds them, by the robust method.
    largest : float
        Spread in px from which on the views cannot be said to see the same points.

    Returns
    -------
    ndarray of shape (n_cameras, n_keypoints) or None
        Standard deviation of one coordinate in px; None where the views do not agree.
    """
    views = seen.views()
    rays = look_up(locator.rays, views.pixels)
    there = views.seen & ~np.isnan(rays[:, 0])
    some = np.flatnonzero(np.count_nonzero(there, axis=0) >= 2)
    if not some.size:
        return None
    few = some[:: max(len(some) // _FEW, 1)]
    whiten = np.where(there[:, np.newaxis], views.whiten, 0.0)
    median = np.median(
        smallest_median(Views(views.cameras, views.pixels, whiten).take(few), rays[:, :, few])
    )
    # the median square of two normal errors is 2 ln 2 of one's variance; the pair that fits
    # best flatters the spread, by a factor of two or so
    common = max(2 * np.sqrt(median / (2 * np.log(2))), _LEAST)
    spread = np.full((len(views.cameras), seen.n_keypoints), common)
    for _ in range(_ROUNDS):
        if not np.median(spread) <= largest:
            return None
        before = spread
        spread = _one_round(seen, views, locator, before, len(some))
        if spread is None:
            return None
        # a camera that is further off than any detector must not be believed for it
        spread = np.minimum(spread, largest)
        if np.abs(spread / before - 1).mean() < _SETTLED:
            break
    return spread


def _one_round(seen, views, locator, spread, n_points):
    """Fit with one idea of the spread and return the next, or None where nothing agrees."""
    n_cameras, n_keypoints = spread.shape
    found = Points.empty(n_cameras, seen.n_points)
    locator(seen, spread, found)
    there = np.flatnonzero(found.there)
    if 2 * len(there) < n_points:
        return None
    keypoint = there % n_keypoints
    per_view = spread[:, keypoint]
    views = views.take(there)
    views = Views(views.cameras, views.pixels, views.whiten / per_view[:, np.newaxis])
    used = found.used_views[:, there]
    errors = measure_errors(views, np.ascontiguousarray(found.xyz[there].T), used=used)
    # trace of a view's own information times the point's covariance: what the fit took up
    covariance = found.covariance[there].reshape(-1, 9).T
    taken = sum(
        (errors.rows[:, :, place // 3] * errors.rows[:, :, place % 3]).sum(axis=1)
        * covariance[place]
        for place in range(len(SQUARE))
    )
    redundancy = np.where(used, np.clip(2 - taken, 0, 2), 0.0)
    squares = np.where(used, errors.squares, 0.0) * per_view**2
    common = squares.sum() / redundancy.sum()
    # two views share one error: which of them made it cannot be told
    telling = np.count_nonzero(used, axis=0) > 2
    index = np.arange(n_cameras)[:, np.newaxis] * n_keypoints + keypoint

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
