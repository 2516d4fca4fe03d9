"""Cameras from the animal's own keypoints: no board, lenses and one length given.

Any pair of cameras that saw enough of the same points at the same moments gives an essential
matrix, robustly (Nistér's five points, RANSAC); the pair with most points and parallax starts,
further cameras are placed by the points already found (see `calibration.resection`), and
everything is fitted together with free points.

A network errs alike in one frame and the next, and for a keypoint always to the same side: the
covariance is multiplied by how much more the means of the residuals of each camera's keypoints
vary than those of independent errors would. What every camera does wrong alike no residual
tells. `calibration.keypointdoubts` holds the thresholds of the verdict.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.arrays import float_array, name_tuple
from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.keypointdoubts import judge_keypoints, series_inflation, track_inflation
from calibration.keypointviews import (
    fit_gated,
    place_by_keypoints,
    placed_by_points,
    robust_points,
)
from calibration.pointbundle import PointBundle
from calibration.results import Verdict

logger = logging.getLogger(__name__)

#: Points that are fitted at most; more, one after the other in time, say little more.
_MAX_POINTS = 4000


@dataclass(frozen=True, eq=False)
class SelfCalibration:
    """Cameras placed by keypoints, with the evidence.

    Attributes
    ----------
    rig : CameraRig
        The cameras with the covariance of their parameters; the first one placed is the world,
        unless cameras were held.
    points : ndarray of shape (n_frames, n_points, 3)
        Keypoints in space; NaN where they were not fitted.
    residuals : ndarray of shape (n_cameras, n_frames, n_points, 2)
        Seen minus projected in pixels of what was fitted or judged wrong; NaN elsewhere.
    used : ndarray of bool of shape (n_cameras, n_frames, n_points)
        Views that were fitted.
    sigma_px : float
        Standard deviation of a coordinate.
    scale_error : float
        Relative standard error of the scale; it is in the covariance too.
    verdict : Verdict
        Whether to believe it.
    """

    rig: CameraRig
    points: np.ndarray
    residuals: np.ndarray
    used: np.ndarray
    sigma_px: float
    scale_error: float
    verdict: Verdict


def calibrate_from_keypoints(
    lenses: Mapping[str, Intrinsics],
    xy: np.ndarray,
    *,
    units: str,
    distance: tuple[str, str, float] | None = None,
    limbs: Mapping[tuple[int, int], float] | None = None,
    weights: np.ndarray | None = None,
    noise_px: float = 3.0,
    length_sd: float = 0.0,
) -> SelfCalibration:
    """Place cameras relative to each other by keypoints that they saw at the same moments.

    Parameters
    ----------
    lenses : mapping of str to Intrinsics
        Lens of each camera, by name; they are kept.
    xy : ndarray of shape (n_cameras, n_frames, n_points, 2)
        Keypoints in pixels; NaN where not seen.
    units : str
        Unit of the known length, and of the rig.
    distance : tuple of str, str and float, optional
        Two cameras and how far apart they stand.
    limbs : mapping of (int, int) to float, optional
        Pairs of points whose distance is known, such as the ends of a limb. Give this or
        `distance`.
    weights : ndarray of shape (n_cameras, n_frames, n_points), optional
        Weight of each view, such as its likelihood; 0 leaves it out.
    noise_px : float
        Standard deviation of a keypoint's coordinate that is expected, within a factor of
        three: it decides which views may agree at the start, not in the fit.
    length_sd : float
        Relative standard deviation of the known lengths.

    Returns
    -------
    SelfCalibration

    Raises
    ------
    CalibrationError
        If cameras share too few points, the points have no parallax or lie in a plane, or
        their limbs have no length.
    """
    cameras = name_tuple("cameras", list(lenses))
    flat, shape, weights = _flattened(cameras, xy, weights)
    if (distance is None) == (limbs is None):
        raise ValueError("Give the scale once: distance between two cameras, or lengths of limbs.")
    chosen = _chosen(flat, weights)
    seen = np.where((weights > 0)[..., np.newaxis], flat, np.nan)[:, chosen]
    fit = place_by_keypoints(lenses, seen, weights[:, chosen], noise_px, units)
    points = np.full((flat.shape[1], 3), np.nan)
    points[chosen] = fit.points
    if distance is not None:
        factor, error = _distance_scale(fit.rig, distance, length_sd)
    else:
        factor, error = _limb_scale(points.reshape(*shape, 3), limbs, length_sd)
    return _result(fit, factor, points, chosen, shape, error, noise_px)


def refine_cameras(
    rig: CameraRig,
    xy: np.ndarray,
    *,
    held: Sequence[str] = (),
    weights: np.ndarray | None = None,
    noise_px: float = 20.0,
) -> SelfCalibration:
    """Fit the places of an existing rig's cameras anew to keypoints, lenses and scale kept.

    Parameters
    ----------
    rig : CameraRig
        First values.
    xy : ndarray of shape (n_cameras, n_frames, n_points, 2)
        Keypoints in pixels, cameras in the rig's order; NaN where not seen.
    held : sequence of str
        Cameras that stay; if fewer than two, the first camera stays and the distance from it
        to the farthest other.
    weights : ndarray of shape (n_cameras, n_frames, n_points), optional
        Weight of each view; 0 leaves it out.
    noise_px : float
        Views may be off by six times this at the start, as far as the cameras are.

    Returns
    -------
    SelfCalibration
        In the rig's world; the covariance of places is relative to the cameras that were held,
        that of lenses is the rig's.
    """
    flat, shape, weights = _flattened(rig.names, xy, weights)
    chosen = _chosen(flat, weights)
    seen = np.where((weights > 0)[..., np.newaxis], flat, np.nan)[:, chosen]
    held, keep = tuple(held), None
    if len(held) < 2:
        first = held[0] if held else rig.names[0]
        apart = [np.linalg.norm(camera.position - rig[first].position) for camera in rig]
        held, keep = (first,), (first, rig.names[int(np.argmax(apart))])
    fit = fit_gated(rig, seen, weights[:, chosen], noise_px, held_cameras=held, hold_distance=keep)
    points = np.full((flat.shape[1], 3), np.nan)
    points[chosen] = fit.points
    found = _result(fit, 1.0, points, chosen, shape, 0.0, noise_px)
    return _with_old(found, rig, [each for each in rig.names if each not in held])


def resolve_camera(
    rig: CameraRig,
    name: str,
    xy: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    noise_px: float = 3.0,
) -> SelfCalibration:
    """Place one camera of a rig anew by keypoints; all others are held.

    As after it was knocked, or where it was added: where it stood before does not count, and
    its lens is kept.

    Parameters
    ----------
    rig : CameraRig
        The rig; the named camera's lens is used, its place is not.
    name : str
        The camera.
    xy : ndarray of shape (n_cameras, n_frames, n_points, 2)
        Keypoints (or board corners) in pixels, cameras in the rig's order; NaN where not seen.
    weights : ndarray of shape (n_cameras, n_frames, n_points), optional
        Weight of each view; 0 leaves it out.
    noise_px : float
        Standard deviation of a coordinate that is expected, within a factor of three.

    Returns
    -------
    SelfCalibration
        In the rig's world. The covariance is the rig's own, where it has one, and in place of
        the named camera's that of its new place, for which the others count as exact.

    Raises
    ------
    CalibrationError
        If fewer than two others see the points, or the camera sees too few of them.
    """
    if name not in rig.names:
        raise ValueError(f"There is no camera {name!r}; the rig has {', '.join(rig.names)}.")
    others = [other for other in rig.names if other != name]
    if len(others) < 2:
        raise CalibrationError(
            f"The rig has {len(others)} camera beside {name!r}; at least 2 are needed to place "
            "the points that place it. Calibrate both cameras anew."
        )
    flat, shape, weights = _flattened(rig.names, xy, weights)
    chosen = _chosen(flat, weights)
    seen = np.where((weights > 0)[..., np.newaxis], flat, np.nan)[:, chosen]
    rows = [rig.names.index(other) for other in others]
    first = robust_points(rig.subset(others), seen[rows], 6 * noise_px)
    i = rig.names.index(name)
    camera = placed_by_points(name, rig[name].intrinsics, first, seen[i], noise_px)
    cameras = tuple(camera if c.name == name else c for c in rig)
    start = CameraRig(cameras, rig.units, world=rig.world)
    fit = fit_gated(start, seen, weights[:, chosen], noise_px, held_cameras=others)
    points = np.full((flat.shape[1], 3), np.nan)
    points[chosen] = fit.points
    return _with_old(_result(fit, 1.0, points, chosen, shape, 0.0, noise_px), rig, [name])


def scale_rig(rig: CameraRig, factor: float, relative_sd: float = 0.0) -> CameraRig:
    """Scale a rig about its world's origin; the factor's own error joins the covariance.

    Parameters
    ----------
    rig : CameraRig
        The rig.
    factor : float
        New lengths from old.
    relative_sd : float
        Relative standard deviation of the factor.
    """
    if not (np.isfinite(factor) and factor > 0):
        raise ValueError(f"factor is {factor}; it must be above 0.")
    if factor == 1 and relative_sd == 0:
        return rig
    cameras = tuple(Camera(c.name, c.intrinsics, c.rvec, factor * c.tvec) for c in rig)
    covariance = rig.covariance
    if covariance is not None:
        size = np.ones(len(covariance))
        along = np.zeros(len(covariance))
        for camera in cameras:
            start, _ = rig.parameter_range(camera.name)
            size[start + 3 : start + 6] = factor
            along[start + 3 : start + 6] = camera.tvec
        covariance = covariance * size * size[:, np.newaxis]
        covariance = covariance + relative_sd**2 * along[:, np.newaxis] * along
    return CameraRig(cameras, rig.units, covariance, rig.world)


def _flattened(cameras, xy, weights):
    """Return views (n_cameras, n, 2), shape of frames and points, weights (n_cameras, n)."""
    xy = float_array("xy", xy, (len(cameras), "n_frames", "n_points", 2))
    shape = xy.shape[1:3]
    flat = xy.reshape(len(cameras), -1, 2)
    if weights is None:
        weights = np.ones(xy.shape[:3])
    weights = np.nan_to_num(float_array("weights", weights, xy.shape[:3])).reshape(flat.shape[:2])
    if weights.min(initial=0.0) < 0:
        raise ValueError(f"weights holds {weights.min()}; a weight is 0 or above.")
    return flat, shape, weights


def _chosen(flat, weights):
    """Points seen by at least two cameras, thinned evenly where they are many."""
    views = (np.isfinite(flat[..., 0]) & (weights > 0)).sum(axis=0)
    rows = np.flatnonzero(views >= 2)
    if len(rows) > _MAX_POINTS:
        rows = rows[np.linspace(0, len(rows) - 1, _MAX_POINTS).astype(int)]
    return rows


def _with_old(found, rig, names):
    """Put the new places of cameras into the covariance that the rig had before."""
    if rig.covariance is None:
        return found
    new = found.rig.covariance
    old = np.array(rig.covariance)
    for name in names:
        start, stop = rig.parameter_range(name)
        old[start : start + 6] = old[:, start : start + 6] = 0.0
        # its lens was fitted together with its old place
        old[start + 6 : stop, :start] = old[:start, start + 6 : stop] = 0.0
        old[start + 6 : stop, stop:] = old[stop:, start + 6 : stop] = 0.0
    return replace(found, rig=replace(found.rig, covariance=old + new))


def _result(fit: PointBundle, factor, points, chosen, shape, scale_error, noise_px):
    """Scale the outcome, spread it over frames and points, and own up to correlated errors."""
    n_cameras = len(fit.rig)
    residuals = np.full((n_cameras, len(points), 2), np.nan)
    used = np.zeros((n_cameras, len(points)), dtype=bool)
    residuals[:, chosen], used[:, chosen] = fit.residuals, fit.used
    residuals = residuals.reshape(n_cameras, *shape, 2)
    used = used.reshape(n_cameras, *shape)
    fitted = np.where(used[..., np.newaxis], residuals, np.nan)
    more = track_inflation(np.moveaxis(fitted, 1, 0).reshape(shape[0], -1))
    rig = replace(fit.rig, covariance=more * fit.rig.covariance)
    found = SelfCalibration(
        scale_rig(rig, factor, scale_error),
        factor * points.reshape(*shape, 3),
        residuals,
        used,
        fit.sigma_px,
        scale_error,
        Verdict(()),
    )
    return replace(found, verdict=judge_keypoints(found, noise_px))


def _distance_scale(rig, distance, length_sd):
    first, second, length = distance
    for name in (first, second):
        if name not in rig.names:
            raise ValueError(f"distance names {name!r}; the cameras are {', '.join(rig.names)}.")
    apart = rig[second].position - rig[first].position
    found = np.linalg.norm(apart)
    # the found length's own error, from the covariance of the two places
    slope = np.zeros(len(rig.covariance))
    for name, sign in ((first, -1.0), (second, 1.0)):
        camera = rig[name]
        start, _ = rig.parameter_range(name)
        x, y, z = camera.tvec
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        turn = np.hstack([cross, np.eye(3)])
        slope[start : start + 6] = -sign * (apart / found) @ camera.rotation.T @ turn
    own = np.sqrt(max(slope @ rig.covariance @ slope, 0.0)) / found
    return float(length) / found, float(np.hypot(length_sd, own))


def _limb_scale(points, limbs, length_sd):
    """Known over found length, by the middle one of all moments of each limb."""
    ratios, errors = [], []
    for (first, second), length in limbs.items():
        found = np.linalg.norm(points[:, first] - points[:, second], axis=-1)
        seen = found[np.isfinite(found)]
        if len(seen) < 5:
            raise CalibrationError(
                f"The limb of points {first} and {second} was found in {len(seen)} moments; at "
                "least 5 are needed for its length. Give another limb, or a distance of cameras."
            )
        middle = np.median(seen)
        more = series_inflation(found - middle)
        ratios.append(length / middle)
        spread = 1.4826 * np.median(np.abs(seen - middle))
        errors.append(1.2533 * spread * np.sqrt(more / len(seen)) / middle)
    ratios = np.array(ratios)
    own = np.sqrt(np.mean(np.square(errors)) / len(ratios))
    if len(ratios) > 1:
        # limbs that contradict each other say more of the error than any one's noise
        own = max(own, ratios.std(ddof=1) / np.sqrt(len(ratios)) / ratios.mean())
    return float(np.median(ratios)), float(np.hypot(length_sd, own))
