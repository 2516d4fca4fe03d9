"""From what cameras saw of some points to the points, or to the reason why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pose3d.keypoints import Missing
from pose3d.triangulation.choosing import choose_views
from pose3d.triangulation.fitting import (
    Errors,
    Views,
    fit_points,
    invert_symmetric,
    linear_start,
    measure_errors,
)
from pose3d.triangulation.rays import Rays, look_up, refined

#: Rays are parallel where all lie within this angle (radians) of their mean direction ...
_NARROW = np.radians(0.5)

#: ... and the point's standard deviation exceeds this share of its distance: through a long
#: lens a small angle can be enough.
_VAGUE = 0.02


@dataclass(frozen=True, eq=False)
class Located:
    """Points, and how far to trust them.

    Attributes
    ----------
    xyz : ndarray of shape (3, n_points)
        World points; NaN where missing.
    covariance : ndarray of shape (6, n_points)
        Entries of their covariance; NaN where missing.
    distances : ndarray of shape (n_cameras, n_points)
        Their distances in pixels from what each camera saw; NaN where it saw nothing.
    errors : Errors
        Their errors in each view; those of missing points mean nothing.
    reason : ndarray of uint8 of shape (n_points,)
        A code of `Missing`.
    """

    xyz: np.ndarray
    covariance: np.ndarray
    distances: np.ndarray
    errors: Errors
    reason: np.ndarray


def locate(views: Views, rays_of: Sequence[Rays], *, limit: np.ndarray | None = None) -> Located:
    """Triangulate points by least squares in the images.

    Parameters
    ----------
    views : Views
        What the cameras saw.
    rays_of : sequence of Rays
        One for each camera.
    limit : ndarray of shape (n_cameras, n_points), optional
        Squared whitened error from which a view is not believed; all are believed unless
        given.
    """
    rays = look_up(rays_of, views.pixels)
    blind = np.isnan(rays[:, 0])
    if blind.any():
        views = Views(views.cameras, views.pixels, np.where(blind[:, np.newaxis], 0, views.whiten))
        rays = np.where(np.isnan(rays), 0.0, rays)
    start = linear_start(views, rays)
    errors = measure_errors(views, np.where(np.isfinite(start), start, 0.0))
    if limit is None:
        return judge(views, fit_points(views, errors))
    n_views = np.count_nonzero(views.seen, axis=0)
    # where views have to be chosen among, the fit to all of them does not matter
    errors = fit_points(views, errors, settled=_apart(errors, limit) & (n_views > 2))
    apart = _apart(errors, limit)
    again = np.flatnonzero((apart | _behind(errors)) & (n_views > 2))
    if again.size:
        some = views.take(again)
        choice = choose_views(some, refined(some, rays[:, :, again]), limit[:, again])
        errors.put(again, choice.errors)
        apart[again] = ~choice.found
    return judge(views, errors, apart)


def judge(views: Views, errors: Errors, apart: np.ndarray | bool = False) -> Located:
    """Say which points are known, how well, and why the others are not.

    Parameters
    ----------
    views : Views
        What the cameras saw.
    errors : Errors
        The points and the views that are believed.
    apart : ndarray of bool of shape (n_points,)
        Where the views disagree.
    """
    covariance = invert_symmetric(errors.normal)
    left_out = (views.seen & ~errors.used).any(axis=0)
    reasons = {
        Missing.ONE_VIEW: np.count_nonzero(views.seen, axis=0) < 2,
        # parallel rays meet anywhere: that they disagree there, or behind a camera, says little
        Missing.PARALLEL_RAYS: _parallel(views, covariance, errors) & ~(apart & left_out),
        Missing.VIEWS_DISAGREE: np.broadcast_to(apart, left_out.shape),
        Missing.BEHIND_CAMERA: _behind(errors),
    }
    reason = np.select(list(reasons.values()), list(reasons), Missing.PRESENT).astype(np.uint8)
    there = reason == Missing.PRESENT
    return Located(
        np.where(there, errors.xyz, np.nan),
        np.where(there, covariance, np.nan),
        views.distances(errors.residuals),
        errors,
        reason,
    )


def _behind(errors):
    """Tell where a view that is believed has the point behind it."""
    return (errors.used & errors.behind).any(axis=0)


def _apart(errors, limit):
    """Tell where a view that should be believed lies beyond the limit."""
    return (errors.used & ~(errors.squares < limit)).any(axis=0)


def _parallel(views, covariance, errors):
    """Tell where the believed rays are too near parallel to say how far away the point is."""
    xyz, positions = errors.xyz, np.stack([camera.position for camera in views.cameras])
    spread = np.sqrt(covariance[0] + covariance[3] + covariance[5])
    middle = positions.mean(axis=0)[:, np.newaxis]
    # a rough distance first: few points need a closer look
    doubtful = ~(spread <= 0.5 * _VAGUE * np.linalg.norm(xyz - middle, axis=0))
    parallel = np.zeros(xyz.shape[1], dtype=bool)
    if doubtful.any():
        used = errors.used[:, doubtful, np.newaxis]
        rays = xyz[:, doubtful].T - positions[:, np.newaxis]
        distances = np.linalg.norm(rays, axis=-1)
        nearest = np.where(used[..., 0], distances, np.inf).min(axis=0)
        rays = np.where(used, rays / distances[..., np.newaxis], 0.0)
        mean = rays.sum(axis=0)
        mean /= np.linalg.norm(mean, axis=-1, keepdims=True).clip(min=1e-12)
        apart = np.arccos(np.clip(np.einsum("cpi,pi->cp", rays, mean), -1, 1))
        narrow = np.where(used[..., 0], apart, 0.0).max(axis=0) <= _NARROW
        vague = ~(spread[doubtful] <= _VAGUE * nearest)
        parallel[doubtful] = (narrow & vague) | np.isnan(spread[doubtful])
    return parallel
