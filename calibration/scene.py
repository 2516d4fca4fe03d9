"""Cameras from points of the scene whose places are known: no board, one picture per camera.

=========================== ==================== ==================== =======================
looked at                   WARN                 FAIL                 why there
=========================== ==================== ==================== =======================
points of a camera          fewer than 6         (fewer than 4 are    four determine a pose and
                                                 refused)             show no wrong click
points judged wrong         any                  over a third         half of the rest may agree
                                                                      by chance
rms of the clicks           3 px                 10 px                careful clicks are good to
                                                                      1 or 2 px
standard error of the       1 % of the distance  5 %                  1 % of a depth of a metre
position                    to the points                             is a centimetre
second pose                 within 25 of the     within 9             chi squared: five and three
                            first's loss                              standard deviations
image covered               points span less                          a pose far from the points
                            than a quarter                            is extrapolated
=========================== ==================== ==================== =======================
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calibration.arrays import float_array, name_tuple
from calibration.cameras import CameraRig, Intrinsics
from calibration.errors import CalibrationError
from calibration.multiview import triangulate_dlt
from calibration.pointbundle import adjust_points
from calibration.resection import Resection, place_camera
from calibration.results import Finding, Verdict
from calibration.solve import standard_errors

#: Coordinates' worth of belief in `click_sd`: few clicks alone estimate their own noise badly.
_WORTH = 4.0
MIN_POINTS = 6
RMS_PX = (3.0, 10.0)
POSITION_SHARE = (0.01, 0.05)
RIVAL_CHI2 = (25.0, 9.0)
WRONG_SHARE = 1 / 3
MIN_SPAN = 0.25
#: Clicks this many `click_sd` off are judged wrong.
_WRONG_SD = 5.0


@dataclass(frozen=True, eq=False)
class PlacedCameras:
    """Cameras placed by scene points, with the evidence.

    Attributes
    ----------
    rig : CameraRig
        In the world of the known points, with the covariance of its parameters.
    names : tuple of str
        Names of the points.
    points : ndarray of shape (n_points, 3)
        Known points as given (moved within their standard deviation, if they have one) and
        unknown ones as found; NaN where too few cameras saw them.
    clicks : ndarray of shape (n_cameras, n_points, 2)
        Where each camera saw each point, in pixels.
    residuals : ndarray of shape (n_cameras, n_points, 2)
        Seen minus projected, in pixels, wrong ones included.
    used : ndarray of bool of shape (n_cameras, n_points)
        Clicks that were fitted.
    sigma_px : float
        Standard deviation of a click's coordinate.
    standard_errors : mapping of str to ndarray
        See `calibration.solve.standard_errors`; in the world of the points.
    verdict : Verdict
        Whether to believe it.
    """

    rig: CameraRig
    names: tuple[str, ...]
    points: np.ndarray
    clicks: np.ndarray
    residuals: np.ndarray
    used: np.ndarray
    sigma_px: float
    standard_errors: Mapping[str, np.ndarray]
    verdict: Verdict

    @property
    def errors(self) -> np.ndarray:
        """Reprojection errors in pixels, ndarray of shape (n_cameras, n_points)."""
        return np.linalg.norm(self.residuals, axis=-1)


def place_cameras_by_points(
    lenses: Mapping[str, Intrinsics],
    clicks: np.ndarray,
    points: np.ndarray,
    *,
    names: Sequence[str],
    units: str,
    point_sd: float = 0.0,
    click_sd: float = 2.0,
) -> PlacedCameras:
    """Place cameras by points of the scene that were marked in one picture of each.

    Each camera is placed by the known points alone (see `place_camera`); then all are fitted
    together, with points that are not known but seen by several.

    Parameters
    ----------
    lenses : mapping of str to Intrinsics
        Lens of each camera, by name; they are kept.
    clicks : ndarray of shape (n_cameras, n_points, 2)
        Where each camera saw each point, in pixels; NaN where it did not.
    points : ndarray of shape (n_points, 3)
        Known places; NaN for points that are not known, whose places are found as well.
    names : sequence of str
        Names of the points.
    units : str
        Unit of the places.
    point_sd : float
        Standard deviation of each known coordinate, in that unit; 0 takes them as exact.
    click_sd : float
        Standard deviation of a click's coordinate that is expected, in px: what a hand
        reaches. It decides which clicks are wrong, and counts as four coordinates where the
        clicks' own noise is estimated.

    Returns
    -------
    PlacedCameras
        The verdict names wrong clicks, rival poses and weak places.

    Raises
    ------
    CalibrationError
        If a camera sees fewer than four known points or all on one line, or no pose explains
        four of them.
    """
    cameras = name_tuple("cameras", list(lenses))
    names = name_tuple("names", list(names))
    clicks = float_array("clicks", clicks, (len(cameras), len(names), 2))
    points = float_array("points", points, (len(names), 3))
    if not (click_sd > 0 and point_sd >= 0):
        raise ValueError(
            f"click_sd is {click_sd}, point_sd {point_sd}; they must be positive, and 0 or more."
        )
    found = []
    for i, name in enumerate(cameras):
        # what the points' own error adds in the picture, at the camera's first place
        limit = _WRONG_SD * click_sd
        first = place_camera(name, lenses[name], points, clicks[i], limit_px=limit)
        if point_sd:
            more = point_sd * lenses[name].matrix[0, 0] / _distance(first.camera, points)
            limit = _WRONG_SD * float(np.hypot(click_sd, more))
            first = place_camera(name, lenses[name], points, clicks[i], limit_px=limit)
        found.append((first, limit))
    rig = CameraRig(tuple(each.camera for each, _ in found), units, world="points")
    known = np.isfinite(points).all(axis=1)
    right = np.stack([each.right for each, _ in found])
    start, right = _with_unknown(rig, clicks, points, right, _WRONG_SD * click_sd)
    fit = adjust_points(
        rig,
        clicks,
        start,
        weights=right.astype(np.float64),
        point_sd=np.where(known, point_sd, np.inf),
        robust=False,
        sigma_prior=(click_sd, _WORTH),
    )
    residuals = clicks - fit.rig.project(fit.points)
    errors = standard_errors(fit.rig)
    findings = [
        *_wrong(cameras, names, clicks, residuals, fit, known),
        *_few(cameras, right & known),
        *_rivals(found, click_sd, points),
        *_weak(fit, residuals, errors["position"], clicks),
    ]
    return PlacedCameras(
        fit.rig,
        names,
        fit.points,
        clicks,
        residuals,
        fit.used,
        fit.sigma_px,
        errors,
        Verdict(tuple(findings)),
    )


def _distance(camera, points):
    return np.linalg.norm(np.nanmean(points, axis=0) - camera.position)


def _with_unknown(rig, clicks, points, right, limit):
    """Places of the unknown points; the worst view is dropped while one contradicts the rest."""
    start = np.array(points)
    right = right.copy()
    for k in np.flatnonzero(~np.isfinite(points).all(axis=1)):
        views = np.isfinite(clicks[:, k, 0])
        while True:
            seen = np.where(views[:, np.newaxis], clicks[:, k], np.nan)
            place = triangulate_dlt(rig, seen)
            errors = np.linalg.norm(rig.project(place) - seen, axis=-1)
            errors = np.where(views & np.isnan(errors), np.inf, errors)
            if views.sum() < 3 or np.nanmax(errors) < 2 * limit:
                break
            # the view without which the others agree best
            rest = []
            for i in np.flatnonzero(views):
                without = np.where(np.arange(len(views))[:, np.newaxis] == i, np.nan, seen)
                off = rig.project(triangulate_dlt(rig, without)) - without
                rest.append((np.nansum(off**2), i))
            views[min(rest)[1]] = False
        start[k] = place
        right[:, k] = views & np.isfinite(place).all()
    return start, right


def _wrong(cameras, names, clicks, residuals, fit, known):
    """Name the clicks that were left out, and pairs that are exchanged."""
    findings = []
    projected = fit.rig.project(fit.points)
    for i, camera in enumerate(cameras):
        seen = np.isfinite(clicks[i, :, 0])
        wrong = np.flatnonzero(seen & ~fit.used[i] & np.isfinite(residuals[i, :, 0]))
        if len(wrong) == 0:
            continue
        parts = [
            f"{names[k]!r} is {np.linalg.norm(residuals[i, k]):.0f} px from where the others "
            f"put it ({projected[i, k, 0]:.0f}, {projected[i, k, 1]:.0f})"
            for k in wrong
        ]
        swaps = []
        for m, k in enumerate(wrong):
            for other in wrong[m + 1 :]:
                off = clicks[i, [k, other]] - projected[i, [other, k]]
                if np.linalg.norm(off, axis=1).max() < _WRONG_SD * max(fit.sigma_px, 1.0):
                    swaps.append(f"{names[k]!r} and {names[other]!r} are exchanged")
        many = len(wrong) > WRONG_SHARE * np.count_nonzero(seen & known)
        findings.append(
            Finding(
                "FAIL" if many else "WARN",
                "wrong clicks",
                f"Camera {camera!r}: {'; '.join(parts + swaps)}. "
                f"{'They were' if len(wrong) > 1 else 'It was'} left out.",
                "Click again there, or check the names and places of these points.",
            )
        )
    return findings


def _few(cameras, right):
    few = [
        f"{name!r} ({count})"
        for name, count in zip(cameras, right.sum(axis=1), strict=True)
        if count < MIN_POINTS
    ]
    if not few:
        return []
    return [
        Finding(
            "WARN",
            "few points",
            f"Fewer than {MIN_POINTS} known points place {', '.join(few)}: a wrong click among "
            "them may go unseen.",
            "Mark more known points in these cameras.",
        )
    ]


def _rivals(found: list[tuple[Resection, float]], click_sd, points):
    findings = []
    for each, limit in found:
        # the loss in units of the clicks' variance: limit is so many standard deviations
        chi2 = (each.rival_loss - each.loss) / (limit / _WRONG_SD) ** 2
        if each.rival is None or chi2 > RIVAL_CHI2[0]:
            continue
        place, other = each.camera.position, each.rival.position
        flat = np.linalg.svd(points[each.right] - points[each.right].mean(axis=0), compute_uv=False)
        why = "The points lie in one plane, seen with little perspective"
        if flat[2] > 0.01 * flat[0]:
            why = "The points are too few or too close together"
        findings.append(
            Finding(
                "FAIL" if chi2 < RIVAL_CHI2[1] else "WARN",
                "two poses",
                f"Camera {each.camera.name!r} may stand at ({_spell(place)}), taken here, or at "
                f"({_spell(other)}): the second explains the clicks nearly as well (squared "
                f"errors {each.loss:.3g} and {each.rival_loss:.3g} px²). {why}.",
                "Mark a point well off the plane of the others, or points farther apart.",
            )
        )
    return findings


def _spell(place):
    return ", ".join(f"{value:.4g}" for value in place)


def _weak(fit, residuals, position_errors, clicks):
    findings = []
    for i, camera in enumerate(fit.rig):
        rms = np.sqrt(np.mean(residuals[i, fit.used[i]] ** 2))
        level = "FAIL" if rms > RMS_PX[1] else "WARN" if rms > RMS_PX[0] else "PASS"
        findings.append(
            Finding(
                level,
                "clicks",
                f"Camera {camera.name!r}: {np.count_nonzero(fit.used[i])} clicks lie "
                f"{rms:.2f} px from where they should (RMS per coordinate).",
                ""
                if level == "PASS"
                else "Check the places of the points, the lens and the size of the picture.",
            )
        )
        distance = np.linalg.norm(fit.points[fit.used[i]].mean(axis=0) - camera.position)
        error = float(np.linalg.norm(position_errors[i]))
        share = error / distance
        level = (
            "FAIL" if share > POSITION_SHARE[1] else "WARN" if share > POSITION_SHARE[0] else "PASS"
        )
        findings.append(
            Finding(
                level,
                "position",
                f"Camera {camera.name!r} stands {distance:.4g} {fit.rig.units} from the points; "
                f"the standard error of its position is {error:.2g} {fit.rig.units} "
                f"({100 * share:.1f} %).",
                "" if level == "PASS" else "Mark more points, farther apart and at other heights.",
            )
        )
        span = np.ptp(clicks[i, fit.used[i]], axis=0) / camera.intrinsics.image_size
        if span.max() < MIN_SPAN:
            findings.append(
                Finding(
                    "WARN",
                    "coverage",
                    f"Camera {camera.name!r}: the points span {100 * span.max():.0f} % of the "
                    "picture.",
                    "Mark points near its edges too.",
                )
            )
    return findings


def check_same_names(expected: Sequence[str], found: Sequence[str], what: str) -> None:
    """Refuse names that do not fit, naming the nearest."""
    import difflib

    for name in found:
        if name not in expected:
            near = difflib.get_close_matches(name, expected, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise CalibrationError(
                f"There is no {what} {name!r}; known are {', '.join(expected)}.{meant}"
            )
