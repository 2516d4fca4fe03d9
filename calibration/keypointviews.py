"""First places of cameras from points that they share: pairs, then one camera after the other."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np

from calibration.cameras import Camera, CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.extrinsics import linked_groups
from calibration.multiview import triangulate_dlt
from calibration.pointbundle import PointBundle, adjust_points
from calibration.resection import place_camera
from calibration.rotations import rotation_vectors

#: Points that two cameras must share, and that must agree, for a start.
MIN_SHARED = 20
#: Points that place a further camera.
MIN_KNOWN = 12
#: Median angle between the rays of two cameras, in degrees, under which depth is a guess.
MIN_PARALLAX = 2.0
#: Where a plane's picture explains this share of what the essential matrix does, the points
#: lie in a plane.
_PLANE_SHARE = 0.8
#: Pairs of cameras that are tried for a point on which views disagree.
_MAX_PAIRS = 60
#: Points farther than so many times the rig's radius have no depth.
_MAX_REACH = 100.0


def place_by_keypoints(
    lenses: Mapping[str, Intrinsics],
    seen: np.ndarray,
    weights: np.ndarray,
    noise_px: float,
    units: str,
) -> PointBundle:
    """Place cameras by points that they share; the scale is anyhow.

    Parameters
    ----------
    lenses : mapping of str to Intrinsics
        Lens of each camera, by name.
    seen : ndarray of shape (n_cameras, n_points, 2)
        Views in pixels; NaN where there is none.
    weights : ndarray of shape (n_cameras, n_points)
        Weight of each view.
    noise_px : float
        Noise of a coordinate that is expected.
    units : str
        Unit of the rig.

    Returns
    -------
    PointBundle
        Cameras in the order given; the world is that of the camera that started.

    Raises
    ------
    CalibrationError
        If the points do not determine the cameras.
    """
    placed, order = _start(tuple(lenses), lenses, seen, noise_px)
    fit = _fit(placed, seen, weights, noise_px, units)
    back = np.argsort(order)
    rig = fit.rig.subset([fit.rig.names[k] for k in back])
    return replace(fit, rig=rig, residuals=fit.residuals[back], used=fit.used[back])


def _start(names, lenses, seen, noise_px):
    """Place all cameras one after the other; returns cameras by index, in that order."""
    pairs, causes = {}, {}
    both = np.isfinite(seen[..., 0])
    shared = both.astype(np.int64) @ both.T.astype(np.int64)
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            found = _pair(lenses[names[i]], lenses[names[j]], seen[[i, j]], noise_px)
            if isinstance(found, str):
                causes[i, j] = found
            else:
                pairs[i, j] = found
    _check_linked(names, shared)
    if not pairs:
        told = "; ".join(f"{names[i]!r} and {names[j]!r}: {why}" for (i, j), why in causes.items())
        raise CalibrationError(
            f"No pair of cameras can start the rig. {told}. Record the animal moving through "
            "the space that cameras see together, at different heights and distances."
        )
    (i, j), (motion, *_) = max(pairs.items(), key=lambda item: item[1][1])
    first = Camera(names[i], lenses[names[i]], np.zeros(3), np.zeros(3))
    second = Camera(names[j], lenses[names[j]], rotation_vectors(motion[:3, :3]), motion[:3, 3])
    placed = {i: first, j: second}
    while len(placed) < len(names):
        rows = list(placed)
        rig = CameraRig(tuple(placed.values()))
        points = robust_points(rig, seen[rows], 6 * noise_px)
        count = {k: _known(points, seen[k]) for k in range(len(names)) if k not in placed}
        k = max(count, key=lambda each: (count[each], -each))
        camera = placed_by_points(names[k], lenses[names[k]], points, seen[k], noise_px)
        placed[k] = camera
        # errors would pile up from camera to camera
        fit = _fit(placed, seen, None, noise_px, tolerance=1e-4)
        placed = dict(zip(placed, fit.rig, strict=True))
    return placed, list(placed)


def _known(points, seen):
    return np.count_nonzero(np.isfinite(points[:, 0]) & np.isfinite(seen[:, 0]))


def _check_linked(names, shared):
    groups = linked_groups(shared >= MIN_KNOWN)
    if len(groups) == 1:
        return
    told = "; ".join(", ".join(repr(names[i]) for i in group) for group in groups)
    raise CalibrationError(
        f"The cameras fall into {len(groups)} groups that share fewer than {MIN_KNOWN} keypoints "
        f"at the same moments: {told}. Record the animal where cameras of both groups see it."
    )


def _pair(first, second, seen, noise_px):
    """Motion between two cameras, how far to trust it; or, in words, why there is none."""
    import cv2

    both = np.isfinite(seen[..., 0]).all(axis=0)
    rays = [lens.undistort(view[both]) for lens, view in zip((first, second), seen, strict=True)]
    finite = np.isfinite(rays[0][:, 0]) & np.isfinite(rays[1][:, 0])
    rays = [np.ascontiguousarray(each[finite]) for each in rays]
    n = len(rays[0])
    if n < MIN_SHARED:
        return f"they share {n} keypoints, {MIN_SHARED} are needed"
    focal = np.mean([lens.matrix[k, k] for lens in (first, second) for k in range(2)])
    limit = 2 * noise_px / focal
    matrix, mask = cv2.findEssentialMat(*rays, np.eye(3), cv2.RANSAC, 0.9999, limit)
    if matrix is None or matrix.shape[0] < 3:
        return "their views fit no motion"
    best = None
    for essential in matrix.reshape(-1, 3, 3):
        # its default drops points beyond 50 baselines; how far is far is asked below
        count, rotation, shift, agree, *_ = cv2.recoverPose(
            essential, *rays, np.eye(3), distanceThresh=1e6, mask=mask.copy()
        )
        if best is None or count > best[0]:
            best = count, rotation, shift.ravel(), agree.ravel() > 0
    count, rotation, shift, agree = best
    homogeneous = [np.column_stack([each, np.ones(n)]) for each in rays]
    lines = [homogeneous[0] @ rotation.T, homogeneous[1]]
    cosine = np.einsum("ij,ij->i", *lines) / np.prod(
        [np.linalg.norm(each, axis=1) for each in lines], axis=0
    )
    parallax = np.degrees(np.median(np.arccos(np.clip(cosine[mask.ravel() > 0], -1, 1))))
    if parallax < MIN_PARALLAX:
        return (
            f"the angle between their rays is {parallax:.1f} degrees, {MIN_PARALLAX:g} are "
            "needed: they stand side by side, or the animal far away"
        )
    if count < max(MIN_SHARED, 0.4 * n):
        return f"{count} of {n} shared keypoints agree with one motion"
    # a plane leaves two motions that explain it alike (Faugeras and Lustman, 1988)
    plane, _ = cv2.findHomography(*rays, cv2.RANSAC, 1.75 * limit, None, 2000, 0.999)
    share = 0.0
    if plane is not None:
        # the way that magnifies also magnifies noise: either will do
        errors = np.full(n, np.inf)
        for k, way in ((0, plane), (1, np.linalg.pinv(plane))):
            mapped = homogeneous[k] @ way.T
            with np.errstate(divide="ignore", invalid="ignore"):
                off = np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - rays[1 - k], axis=1)
            errors = np.fmin(errors, off)
        share = np.count_nonzero(errors < 1.75 * limit) / max(count, 1)
    if share > _PLANE_SHARE:
        return (
            f"{100 * min(share, 1):.0f} % of the keypoints lie in one plane (to {3.5 * noise_px:g} "
            "px), which leaves two motions"
        )
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    return motion, count * np.sin(np.radians(min(parallax, 90.0))), parallax


def placed_by_points(
    name: str, lens: Intrinsics, points: np.ndarray, seen: np.ndarray, noise_px: float
) -> Camera:
    """Place a camera by points (n_points, 3) already found, seen at (n_points, 2).

    Raises
    ------
    CalibrationError
        If it sees too few of them.
    """
    known = _known(points, seen)
    if known < MIN_KNOWN:
        raise CalibrationError(
            f"Camera {name!r} sees {known} keypoints that two placed cameras see as well; "
            f"{MIN_KNOWN} are needed. Record the animal where it and two others see it."
        )
    return place_camera(name, lens, points, seen, limit_px=6 * noise_px).camera


def robust_points(rig: CameraRig, seen: np.ndarray, limit_px: float) -> np.ndarray:
    """Triangulate by all views that agree with the pair with which most do.

    Parameters
    ----------
    rig : CameraRig
        The cameras.
    seen : ndarray of shape (n_cameras, n_points, 2)
        Views in pixels; NaN where there is none.
    limit_px : float
        Views within this of a point agree with it.

    Returns
    -------
    ndarray of shape (n_points, 3)
        NaN where fewer than two cameras saw the point.
    """
    points = triangulate_dlt(rig, seen)
    views = np.isfinite(seen[..., 0])

    def off(candidate, rows):
        errors = np.linalg.norm(rig.project(candidate) - seen[:, rows], axis=-1)
        errors = np.where(np.isnan(errors), np.inf, errors)
        return np.where(views[:, rows], np.minimum(errors, limit_px), 0.0)

    rows = np.flatnonzero((off(points, slice(None)) >= limit_px).any(axis=0))
    if len(rig) < 3 or len(rows) == 0:
        return points
    best, least = points[rows], off(points[rows], rows).sum(axis=0)
    both = views[:, rows].astype(np.int64) @ views[:, rows].T.astype(np.int64)
    pairs = sorted(combinations(range(len(rig)), 2), key=lambda pair: (-both[pair], pair))
    for i, j in pairs[:_MAX_PAIRS]:
        two = rig.subset([rig.names[i], rig.names[j]])
        candidate = triangulate_dlt(two, seen[np.ix_([i, j], rows)])
        value = off(candidate, rows).sum(axis=0)
        better = (value < least) & np.isfinite(candidate[:, 0])
        best[better], least[better] = candidate[better], value[better]
    agree = views[:, rows] & (off(best, rows) < limit_px)
    again = triangulate_dlt(rig, seen[:, rows], agree.astype(np.float64))
    value = off(again, rows).sum(axis=0)
    better = (value < least) & np.isfinite(again[:, 0])
    best[better] = again[better]
    points[rows] = best
    return points


def _fit(placed, seen, weights, noise_px, units="mm", **more):
    """Fit the placed cameras; the first holds still, and its distance to the second."""
    rows = list(placed)
    rig = CameraRig(tuple(placed.values()), units)
    weights = np.ones(seen.shape[:2]) if weights is None else weights
    return fit_gated(
        rig,
        seen[rows],
        weights[rows],
        noise_px,
        held_cameras=rig.names[:1],
        hold_distance=rig.names[:2],
        **more,
    )


def fit_gated(
    rig: CameraRig, seen: np.ndarray, weights: np.ndarray, noise_px: float, **holds
) -> PointBundle:
    """Fit without the views that are wrong at the start, then with all that fit the outcome.

    A point that wrong views put behind a camera or out of sight is no start for any loss.

    Parameters
    ----------
    rig : CameraRig
        First values.
    seen : ndarray of shape (n_cameras, n_points, 2)
        Views in pixels; NaN where there is none.
    weights : ndarray of shape (n_cameras, n_points)
        Weight of each view.
    noise_px : float
        Views farther off than six times this are left out at first.
    **holds
        What is held, and how exactly, see `adjust_points`.
    """
    points, right = _agreeing(rig, seen, 6 * noise_px)
    fit = adjust_points(rig, seen, points, weights=weights * right, **holds)
    points, right = _agreeing(fit.rig, seen, max(6 * fit.sigma_px, 1e-6))
    rig = CameraRig(fit.rig.cameras, rig.units, world=rig.world)
    return adjust_points(rig, seen, points, weights=weights * right, **holds)


def _agreeing(rig, seen, limit):
    """Robust points, and which views agree with them to a limit in px."""
    points = robust_points(rig, seen, limit)
    errors = np.linalg.norm(rig.project(points) - seen, axis=-1)
    with np.errstate(invalid="ignore"):
        right = errors < limit
    # rays that hardly cross put a point anywhere
    places = np.stack([camera.position for camera in rig])
    far = np.linalg.norm(points - places.mean(axis=0), axis=1)
    size = np.linalg.norm(places - places.mean(axis=0), axis=1).max()
    right &= far < _MAX_REACH * size
    right &= right.sum(axis=0) >= 2
    return points, right
